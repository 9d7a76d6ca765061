"""boto3, and whatever takes a botocore session."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._bearer import SEND_LEFT
from ._errors import CODE_BAD_ANSWER, CambioError, misconfigured
from ._extras import missing
from ._secret import one_word

if TYPE_CHECKING:
    import boto3  # pyright: ignore[reportMissingTypeStubs]

    from ._source import TokenSource
    from ._token import Token

AWS_CREDENTIALS = "urn:cambio:token-type:aws-credentials"
"""What an aws target issues: the JSON of a credential_process."""


def boto3_session(
    source: TokenSource, *, region_name: str | None = None, profile_name: str | None = None
) -> boto3.Session:
    """A boto3.Session with the credentials of an aws target, renewed as long as it lives.

    Nothing else gives this session credentials: no variable, no file, no instance. What else is configured, such as
    the region where none is given, is read as ever; profile_name says which profile of the configuration.

        from cambio_client import Client, boto3_session

        session = boto3_session(Client().token_source("bedrock"), region_name="us-east-1")
        print(session.client("sts").get_caller_identity()["Arn"])
    """
    try:
        sdk: Any = import_module("boto3")
        sessions: Any = import_module("botocore.session")
        credentials: Any = import_module("botocore.credentials")
    except ImportError as err:
        raise missing("aws") from err
    core = sessions.Session(profile=profile_name)
    core.register_component("credential_provider", _provider(credentials, source))
    return sdk.Session(botocore_session=core, region_name=region_name)


def _provider(credentials: Any, source: TokenSource) -> Any:
    """A resolver that knows of one provider, which gives credentials that ask source."""

    class Refreshable(credentials.DeferredRefreshableCredentials):
        """The SDK asks for others 15 minutes before the end, and insists 10 minutes before: with credentials that
        live for 15 minutes, at every call. When to renew is the source's to know, so these follow its plan."""

        def __init__(self) -> None:
            made: Any = super()
            made.__init__(refresh_using=self._renew, method="cambio")

        def _renew(self) -> dict[str, str]:
            token = source.token(min_left=SEND_LEFT)
            left = token.remaining()
            self._advisory_refresh_timeout = max(token.expires_at - token.refresh_at, SEND_LEFT)
            self._mandatory_refresh_timeout = min(SEND_LEFT, left / 2)
            return _metadata(token, left)

        def __deepcopy__(self, memo: object) -> Any:
            return self

    class Provider(credentials.CredentialProvider):
        METHOD = CANONICAL_NAME = "cambio"

        def load(self) -> Any:
            return Refreshable()

    return credentials.CredentialResolver([Provider()])


def _metadata(token: Token, left: float) -> dict[str, str]:
    """What botocore wants. The end is by this machine's clock, by which botocore goes, and not as AWS wrote it."""
    if token.issued_token_type != AWS_CREDENTIALS:
        raise misconfigured(f"{token.issued_token_type} is no AWS credential: name an aws target of format credentials")
    end = datetime.fromtimestamp(token.clock.time() + left, timezone.utc)
    try:
        given: Any = json.loads(token.value.reveal())
        found = {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": end.isoformat(),
        }
    except (ValueError, LookupError, TypeError, RecursionError):
        found = {}
    if not found or not all(isinstance(v, str) and one_word(v) for v in found.values()):
        raise CambioError(CODE_BAD_ANSWER, "what the server gave is no AWS credential", exchange_id=token.exchange_id)
    return found
