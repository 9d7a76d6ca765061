"""Credentials of google-auth, for all of Google's clients."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ._bearer import SEND_LEFT, sendable
from ._errors import CambioError
from ._extras import missing
from ._single import Single

if TYPE_CHECKING:
    import google.auth.aio.credentials
    import google.auth.credentials

    from ._source import TokenSource
    from ._token import Token

DEFAULT_UNIVERSE = "googleapis.com"


def google_credentials(
    source: TokenSource, *, quota_project_id: str | None = None, universe_domain: str = DEFAULT_UNIVERSE
) -> google.auth.credentials.CredentialsWithQuotaProject:
    """Credentials for Google's clients with the token of a gcp target, renewed ahead and where the answer is 401.

    quota_project_id: the project that requests are billed to. universe_domain: of a sovereign cloud. The scopes are
    those of the target: clients that bring their own leave these alone. A failure is google.auth's RefreshError, with
    the CambioError as its cause.

        import os
        from google.auth.transport.requests import AuthorizedSession
        from cambio_client import Client, google_credentials

        session = AuthorizedSession(google_credentials(Client().token_source("vertex")))
        model = "projects/p/locations/global/publishers/google/models/gemini-2.5-flash"
        question = {"contents": [{"role": "user", "parts": [{"text": "Who am I?"}]}]}
        answer = session.post(f"{os.environ['VERTEX_ENDPOINT']}/v1/{model}:generateContent", json=question)
        print(answer.json()["candidates"][0]["content"]["parts"][0]["text"])
    """
    return _class()(source, quota_project_id, universe_domain)


def async_google_credentials(source: TokenSource) -> google.auth.aio.credentials.Credentials:
    """Credentials for google.auth.aio, which has no quota project and no universe; otherwise as google_credentials.

    from cambio_client import Client, async_google_credentials

    credentials = async_google_credentials(Client().token_source("vertex"))
    """
    return _aio_class()(source)


@functools.cache
def _class() -> Any:
    try:
        from google.auth import credentials, exceptions
    except ImportError as err:
        raise missing("google") from err
    base: Any = credentials
    refresh_error: Any = exceptions.RefreshError

    class CambioCredentials(Single, base.CredentialsWithQuotaProject, base.CredentialsWithUniverseDomain):
        def __init__(self, source: TokenSource, quota_project_id: str | None, universe_domain: str) -> None:
            super().__init__()
            self._source = source
            self._quota_project_id = quota_project_id
            self._universe_domain = universe_domain
            self._sent: str | None = None

        def before_request(self, request: Any, method: str, url: str, headers: Any) -> None:
            """Puts the source's token on the request. google-auth by itself would ask for another in the last 225
            seconds of each; when to renew is the source's to know."""
            self._take(None, SEND_LEFT)
            self._sent = self.token
            self.apply(headers)

        def refresh(self, request: Any) -> None:
            """Is called where the answer was 401, and by programs that hold the token themselves and see it end."""
            held: Any = self.token
            refused: str | None = held if held and (self.valid or held == self._sent) else None
            # What is asked for so long a life counts as fresh with google-auth.
            self._take(refused, STALE_LEFT)

        def _take(self, refused: str | None, left: float) -> None:
            try:
                token = self._source.token(rejected=refused, min_left=left)
            except CambioError as err:
                raise refresh_error(str(err), retryable=err.retryable) from err
            self.token, self.expiry = sendable(token).reveal(), _expiry(token)

        def with_quota_project(self, quota_project_id: str | None) -> Any:
            return CambioCredentials(self._source, quota_project_id, self._universe_domain)

        def with_universe_domain(self, universe_domain: str) -> Any:
            return CambioCredentials(self._source, self._quota_project_id, universe_domain)

    return CambioCredentials


@functools.cache
def _aio_class() -> Any:
    try:
        from google.auth import exceptions
        from google.auth.aio import credentials
    except ImportError as err:
        raise missing("google") from err
    base: Any = credentials
    refresh_error: Any = exceptions.RefreshError

    class CambioAioCredentials(Single, base.Credentials):
        def __init__(self, source: TokenSource) -> None:
            super().__init__()
            self._source = source

        async def before_request(self, request: Any, method: str, url: str, headers: Any) -> None:
            await self._take(None)
            await self.apply(headers)

        async def refresh(self, request: Any) -> None:
            await self._take(self.token)

        async def _take(self, refused: str | None) -> None:
            try:
                token = await self._source.atoken(rejected=refused, min_left=SEND_LEFT)
            except CambioError as err:
                raise refresh_error(str(err), retryable=err.retryable) from err
            self.token = sendable(token).reveal()

    return CambioAioCredentials


STALE_LEFT = 225.0
"""Seconds before its end from which google-auth calls a token stale."""


def _expiry(token: Token) -> datetime:
    """When the token ends by this machine's clock, in UTC and without a zone, as google-auth has it."""
    end = datetime.fromtimestamp(token.clock.time(), timezone.utc) + timedelta(seconds=token.remaining())
    return end.replace(tzinfo=None)
