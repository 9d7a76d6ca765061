"""Signatures for Oracle Cloud Infrastructure, without Oracle's SDK."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from ._client import Client
from ._clock import SystemClock
from ._errors import misconfigured
from ._oci_key import KeyPen
from ._oci_pen import Pen, Signed
from ._oci_request import Signable, outline, put
from ._oci_session import TOKEN_TYPE, SessionPen
from ._secret import Secret
from ._single import Single
from ._source import TokenSource

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_R = TypeVar("_R")


class OciSigner(Single):
    """Signs requests for OCI as the signers of Oracle's SDK do, and renews what it signs with by itself.

    It is taken by `litellm` as `oci_signer`, by `requests` as `auth`, by Oracle's clients through `oci_sdk_signer`, and
    by httpx and the clients on it through `oci_http_auth`. One is enough for a process: it may be shared by threads,
    event loops and forks, and copies, deep ones too, are the object itself.

    client_or_source: a Client; with a key of your own also a source for its public half. target: the target's name.
    signing: "key": the session token is bound to a key that is in this process and never leaves it, which needs
    `cryptography`; "session": Cambio holds the key, is asked for each signature, and signs what the target lists,
    which needs nothing. key: an RSA key of `cryptography` or what looks like one, the path of one in PEM, or None for
    a new one of 2048 bits. It stays the same when tokens are renewed. region: in place of the target's. lifetime: in
    seconds; of a session all of it, renewals included.

    It signs for whatever host a request is for, over https or to this machine; a signature holds for that host alone.
    Raises Misconfigured, and ImportError without `cryptography`. Signing raises CambioError.

        import requests
        from cambio_client import Client, OciSigner

        signer = OciSigner(Client(), "oci-genai")
        models = f"https://generativeai.{signer.region}.oci.oraclecloud.com/20231130/models"
        print(requests.get(models, auth=signer, timeout=10).status_code)
    """

    def __init__(
        self,
        client_or_source: Client | TokenSource,
        target: str = "oci-genai",
        key: RSAPrivateKey | str | os.PathLike[str] | None = None,
        signing: Literal["key", "session"] = "key",
        region: str | None = None,
        *,
        lifetime: float | None = None,
    ) -> None:
        self._region = region
        self._pen = _pen(client_or_source, target, key, signing, lifetime)

    def do_request_sign(self, request: _R, enforce_content_headers: bool = True) -> _R:
        """Sets date, host, authorization and, of a body, length, type and digest, whatever was there before, on the
        headers of the request, and returns it. It has method, url, headers and body, as those of requests and litellm.
        The bytes of the body are signed as they are.

        enforce_content_headers: False: the body is left out of the signature, as OCI has it for uploads; a signing
        session covers it all the same.
        """
        self.sign(request, enforce_content_headers)
        return request

    def __call__(self, request: _R, enforce_content_headers: bool = True) -> _R:
        """do_request_sign, for `auth=` of requests."""
        return self.do_request_sign(request, enforce_content_headers)

    async def ado_request_sign(self, request: _R, enforce_content_headers: bool = True) -> _R:
        """do_request_sign, without holding up the event loop while something is renewed or Cambio signs."""
        await self.asign(request, enforce_content_headers)
        return request

    @property
    def without_content_headers(self) -> Callable[[Any], Any]:
        """The signer for uploads: bodies are not covered."""
        return functools.partial(self, enforce_content_headers=False)

    @property
    def region(self) -> str:
        """Such as us-ashburn-1. Where none was given, the credential says which, and is asked for."""
        return self._region or self._pen.region()

    def get_security_token(self) -> str:
        """The session token that is signed with at this moment. Raises Misconfigured where Cambio holds it."""
        return self._pen.security_token()

    def refresh_security_token(self) -> None:
        """Gets another credential than the current one, for who was refused with it. It was renewed ahead of its end
        before that, so nobody has to call this for its age."""
        self._pen.renew(None)

    def sign(self, request: object, enforce_content_headers: bool = True) -> Secret:
        """do_request_sign, for who wants to know with what: the credential, for `renew`."""
        read = cast("Signable", request)
        signed = self._pen.sign(outline(read, enforce_content_headers or self._pen.always_content))
        return _put(read, signed)

    async def asign(self, request: object, enforce_content_headers: bool = True) -> Secret:
        """sign, without holding up the event loop."""
        read = cast("Signable", request)
        signed = await self._pen.asign(outline(read, enforce_content_headers or self._pen.always_content))
        return _put(read, signed)

    def renew(self, refused: Secret) -> None:
        """Gets another credential than one that was refused; however many were, once."""
        self._pen.renew(refused)

    async def arenew(self, refused: Secret) -> None:
        """renew, without holding up the event loop."""
        await self._pen.arenew(refused)


def _put(request: Signable, signed: Signed) -> Secret:
    put(request.headers, signed.headers)
    return signed.value


def _pen(given: Client | TokenSource, target: str, key: object, signing: str, lifetime: float | None) -> Pen:
    client = given if isinstance(given, Client) else None
    if signing == "session":
        if client is None:
            raise misconfigured("a signing session is used through a client: give OciSigner the Client")
        if key is not None:
            raise misconfigured('a signing session has a key of its own: leave key out, or take signing="key"')
        source = client.token_source(target, lifetime=lifetime, requested_token_type=TOKEN_TYPE)
        return SessionPen(source, client.rest(), client.clock)
    if signing != "key":
        raise misconfigured(f'signing is "key" or "session", and not {signing!r}')
    if client is not None:
        return KeyPen(
            lambda public: client.token_source(target, lifetime=lifetime, public_key=public), key, client.clock
        )
    if key is None:
        raise misconfigured("a source has asked for a key's public half: give that key, or the Client in its place")
    source = cast("TokenSource", given)
    return KeyPen(lambda _: source, key, SystemClock())
