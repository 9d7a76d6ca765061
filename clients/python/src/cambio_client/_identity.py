"""What a workload is known by."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from ._errors import CODE_IDENTITY, CambioError, IdentityError, misconfigured, plain
from ._secret import Secret, one_word

DEFAULT_TOKEN_FILE = "/var/run/secrets/cambio/token"
"""Where a projected service account token with the audience of the Cambio server is mounted by convention."""
MAX_TOKEN = 32 << 10
"""Bytes of a token at most: the server takes no longer one."""

# RFC 8693 section 3.
TOKEN_TYPE_JWT = "urn:ietf:params:oauth:token-type:jwt"
TOKEN_TYPE_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
TOKEN_TYPE_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A token that the caller already has: what an identity gives.

    from cambio_client import IdentityToken, Secret

    token = IdentityToken(Secret("header.payload.signature"), expires_at=1_800_000_000.0)
    """

    value: Secret
    token_type: str = TOKEN_TYPE_JWT
    """A token type URI."""
    expires_at: float | None = None
    """Seconds since 1970 as the token itself says, by its issuer's clock; None: it does not."""


@runtime_checkable
class Identity(Protocol):
    """Gets the token that the caller already has. It is asked for each exchange, in some thread, many at once.

    from cambio_client import Client, IdentityToken, Secret

    class FromMemory:
        def identity_token(self) -> IdentityToken:
            return IdentityToken(Secret("header.payload.signature"))

    client = Client("https://cambio.example", identity=FromMemory())
    """

    def identity_token(self) -> IdentityToken:
        """The token. What it raises becomes an IdentityError."""
        ...


@runtime_checkable
class Forgetful(Protocol):
    """An identity that keeps its token, and can be told that somebody rejected it."""

    def forget(self, rejected: Secret) -> None:
        """The rejected token is not given again; another one that is held stays."""
        ...


IdentityLike = Identity | Callable[[], str | Secret | IdentityToken] | str | Secret
"""What is taken for an identity: one, a function that gives a token, or a JWT as it is."""


def as_identity(given: IdentityLike) -> Identity:
    """The identity that is meant."""
    if isinstance(given, (str, Secret)):
        return StaticIdentity(given)
    if isinstance(given, Identity):
        return given
    if callable(given):
        return CallableIdentity(given)
    raise misconfigured("an identity has identity_token(), or is a function that gives a token")


def ask(identity: Identity) -> IdentityToken:
    """The identity's token; what goes wrong is an IdentityError without the frames that may hold a token."""
    try:
        token = identity.identity_token()
        fault = _not_a_token(token.value.reveal())
        if not fault:
            return token
        del token
    except CambioError as err:
        fault = err.description
    except Exception as err:
        fault = plain(str(err) or type(err).__name__)
    raise IdentityError(CODE_IDENTITY, f"the workload's own token cannot be had: {fault}", retryable=True)


class StaticIdentity:
    """One token, such as that of the user of one request. token_type: a token type URI. What is no token raises
    IdentityError when it is asked for.

        from cambio_client import Client, StaticIdentity

        def for_user(their_token: str) -> None:
            Client().exchange("github-mcp", subject=StaticIdentity(their_token))
    """

    def __init__(self, token: str | Secret, token_type: str = TOKEN_TYPE_JWT) -> None:
        self._token = token if isinstance(token, Secret) else Secret(token)
        self._type = token_type

    def identity_token(self) -> IdentityToken:
        return check_token(self._token.reveal(), self._type)


class ServiceAccountFile:
    """Reads the token anew each time: kubelet replaces a projected service account token well before it ends
    (Kubernetes docs, "Configure Service Accounts for Pods"). path None: CAMBIO_TOKEN_FILE, or DEFAULT_TOKEN_FILE. A
    file holds one JWT of at most 32 KiB; else IdentityError.

        from cambio_client import Client, ServiceAccountFile

        client = Client("https://cambio.example", identity=ServiceAccountFile("/var/run/secrets/cambio/token"))
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = os.fspath(path or os.environ.get("CAMBIO_TOKEN_FILE") or DEFAULT_TOKEN_FILE)

    def __repr__(self) -> str:
        return f"ServiceAccountFile({self.path!r})"

    def identity_token(self) -> IdentityToken:
        try:
            with open(self.path, "rb") as f:
                text = f.read(MAX_TOKEN + 1)
        except OSError as err:
            raise _fault(
                f"{self.path}: {err.strerror}: mount the service account token there, or name another file"
            ) from None
        return check_token(text.decode("utf-8", "replace"), TOKEN_TYPE_JWT, self.path)


class EnvironmentToken:
    """Reads the token from a variable of the process, such as a CI system sets. It holds a JWT of at most 32 KiB; else
    IdentityError.

        from cambio_client import Client, EnvironmentToken

        client = Client("https://cambio.example", identity=EnvironmentToken("CI_JOB_JWT"))
    """

    def __init__(self, name: str = "CAMBIO_TOKEN") -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"EnvironmentToken({self.name!r})"

    def identity_token(self) -> IdentityToken:
        return check_token(os.environ.get(self.name, ""), TOKEN_TYPE_JWT, f"variable {self.name}")


class CallableIdentity:
    """An identity made of a function, which gives a token as text, as a Secret, or as an IdentityToken. What it raises
    becomes an IdentityError. token_type: a token type URI.

        from cambio_client import CallableIdentity, Client

        def access_token() -> str:
            return "opaque"

        kind = "urn:ietf:params:oauth:token-type:access_token"
        client = Client("https://cambio.example", identity=CallableIdentity(access_token, kind))
    """

    def __init__(self, function: Callable[[], str | Secret | IdentityToken], token_type: str = TOKEN_TYPE_JWT) -> None:
        self._function, self._type = function, token_type

    def identity_token(self) -> IdentityToken:
        given = cast("object", self._function())
        if isinstance(given, IdentityToken):
            return given
        if isinstance(given, Secret):
            given = given.reveal()
        if not isinstance(given, str):
            kind = type(given).__name__
            del given
            raise _fault(f"the function gives a {kind}, and not the token as a str")
        return check_token(given, self._type)


def _fault(description: str) -> IdentityError:
    return IdentityError(CODE_IDENTITY, description, retryable=True)


def _not_a_token(text: str) -> str:
    """Why a text is no token; empty: it may be one."""
    if not text:
        return "there is no token in it"
    if len(text) > MAX_TOKEN:
        return f"a token has at most {MAX_TOKEN} bytes"
    if not one_word(text):
        return "it holds more than one token: one line, without blanks"
    return ""


def check_token(text: str, token_type: str = TOKEN_TYPE_JWT, where: str = "") -> IdentityToken:
    """Checks that a text is one whole token. where names it in the error. Raises IdentityError."""
    text = text.strip()
    fault = _not_a_token(text)
    expires: float | None = None
    if not fault and token_type in (TOKEN_TYPE_JWT, TOKEN_TYPE_ID_TOKEN):
        parts = text.split(".")
        if len(parts) != 3 or not parts[2]:
            fault = "it is no whole JWT: was it being written?"
        else:
            expires = _expiry(parts[1])
        del parts
    if not fault:
        return IdentityToken(Secret(text), token_type, expires)
    del text
    raise _fault(f"{where}: {fault}" if where else fault)


def _expiry(payload: str) -> float | None:
    """Reads `exp` without verifying anything: it is ours to know when to renew, and for the server to believe."""
    try:
        text = base64.b64decode(payload.rstrip("=") + "=" * (-len(payload.rstrip("=")) % 4), b"-_", validate=True)
        claims: Any = json.loads(text)
    except (ValueError, binascii.Error, RecursionError):
        return None
    found: Any = cast("dict[str, Any]", claims).get("exp") if isinstance(claims, dict) else None
    if not isinstance(found, (int, float)) or isinstance(found, bool) or not 0 < found <= 1 << 40:
        return None
    return float(int(found))
