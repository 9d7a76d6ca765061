"""OCI's signatures for httpx and httpx2, and for Oracle's own clients."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, cast

from ._errors import CambioError
from ._extras import missing
from ._oci import OciSigner
from ._single import Single

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    import httpx
    import httpx2

    class OciHttpAuth(httpx.Auth, httpx2.Auth):  # pyright: ignore[reportIncompatibleMethodOverride]
        """What `oci_http_auth` returns: fit for `auth=` of httpx and httpx2."""


def oci_http_auth(signer: OciSigner, *, compartment_id: str | None = None) -> OciHttpAuth:
    """Signs each request of an httpx or httpx2 client, sync or async, and of the clients on it, such as `openai` with
    OCI's endpoint that speaks as OpenAI does.

    compartment_id: is sent in the headers that this endpoint reads it from. A 401 renews the credential, once for any
    number of requests that were refused with it, and the request is sent once more; if nothing else can be had, the 401
    is the answer. Bodies are read whole, since they are signed. What cannot be signed raises CambioError from the
    request.
    """
    return cast("OciHttpAuth", _auth_class()(signer, compartment_id))


def oci_sdk_signer(signer: OciSigner) -> Any:
    """The signer for Oracle's own clients, which take none but their own kinds beside an empty configuration:
    `GenerativeAiInferenceClient({}, signer=oci_sdk_signer(signer))`. Raises ImportError without `oci`."""
    return _sdk_class()(signer)


class _Signable:
    """A request of httpx as signers read it."""

    def __init__(self, request: Any) -> None:
        self.method, self.url, self.headers = request.method, str(request.url), request.headers
        self.body: bytes = request.content
        self.path_url: str = request.url.raw_path.decode("ascii")


class _Auth(Single):
    requires_request_body = True
    requires_response_body = False

    def __init__(self, signer: OciSigner, compartment_id: str | None) -> None:
        self._signer, self._compartment = signer, compartment_id

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        request.read()
        used = self._signer.sign(self._signable(request))
        response = yield request
        if response.status_code != 401:
            return
        try:
            self._signer.renew(used)
            renewed = self._signer.sign(self._signable(request))
        except CambioError:
            return
        if renewed != used:
            yield request

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        await request.aread()
        used = await self._signer.asign(self._signable(request))
        response = yield request
        if response.status_code != 401:
            return
        try:
            await self._signer.arenew(used)
            renewed = await self._signer.asign(self._signable(request))
        except CambioError:
            return
        if renewed != used:
            yield request

    def _signable(self, request: Any) -> _Signable:
        if self._compartment is not None:
            request.headers["CompartmentId"] = request.headers["opc-compartment-id"] = self._compartment
        return _Signable(request)


@functools.cache
def _auth_class() -> type[_Auth]:
    """_Auth as a subclass of what is installed: each of the two takes its own kind only."""
    found = [importlib.import_module(name).Auth for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
    if not found:
        raise missing("http")
    return type("OciHttpAuth", (_Auth, *found), {})


@functools.cache
def _sdk_class() -> type[Any]:
    try:
        kind: Any = importlib.import_module("oci.auth.signers").SecurityTokenSigner
    except ImportError:
        raise ImportError("Oracle's SDK is not installed: pip install oci") from None

    class CambioSigner(Single, kind):
        """Says that it is one of Oracle's and is an OciSigner: their __init__ wants a token that stays."""

        def __init__(self, signer: OciSigner) -> None:
            self._signer = signer
            self.get_security_token = signer.get_security_token
            self.refresh_security_token = signer.refresh_security_token

        @property
        def region(self) -> str:
            return self._signer.region

        def do_request_sign(self, request: Any, enforce_content_headers: bool = True) -> Any:
            signed = self._signer.do_request_sign(request, enforce_content_headers)
            if not enforce_content_headers:
                # An upload of nothing is sent in chunks otherwise, which Object Storage takes none of.
                request.headers.pop("Transfer-Encoding", None)
            return signed

        def __call__(self, request: Any, enforce_content_headers: bool = True) -> Any:
            return self.do_request_sign(request, enforce_content_headers)

    return CambioSigner
