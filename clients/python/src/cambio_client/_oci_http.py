"""OCI's signatures for httpx and httpx2, and for Oracle's own clients."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, cast

from ._extras import missing
from ._http_flow import Flow, fit
from ._oci import OciSigner
from ._single import Single

if TYPE_CHECKING:
    import httpx
    import httpx2

    from ._secret import Secret

    class OciHttpAuth(httpx.Auth, httpx2.Auth):  # pyright: ignore[reportIncompatibleMethodOverride]
        """What `oci_http_auth` returns: fit for `auth=` of httpx and httpx2."""


def oci_http_auth(signer: OciSigner, *, compartment_id: str | None = None) -> OciHttpAuth:
    """Signs each request of an httpx or httpx2 client, sync or async, and of the clients on it, such as `openai` with
    OCI's endpoint that speaks as OpenAI does.

    compartment_id: is sent in the headers that this endpoint reads it from. A 401 renews the credential, once for any
    number of requests that were refused with it, and the request is sent once more; if nothing else can be had, the 401
    is the answer. Bodies are read whole, since they are signed. What cannot be signed raises CambioError from the
    request.

        import httpx
        from cambio_client import Client, OciSigner, oci_http_auth

        http = httpx.Client(auth=oci_http_auth(OciSigner(Client(), "oci-genai")))
    """
    if not any(map(importlib.util.find_spec, ("httpx", "httpx2"))):
        raise missing("http")
    return cast("OciHttpAuth", fit(_OciHttpAuth)(signer, compartment_id))


def oci_sdk_signer(signer: OciSigner) -> Any:
    """The signer for Oracle's own clients, which take none but their own kinds beside an empty configuration:
    `GenerativeAiInferenceClient({}, signer=oci_sdk_signer(signer))`. Raises ImportError without `oci`.

        from cambio_client import Client, OciSigner, oci_sdk_signer
        from oci.generative_ai_inference import GenerativeAiInferenceClient

        genai = GenerativeAiInferenceClient({}, signer=oci_sdk_signer(OciSigner(Client(), "oci-genai")))
    """
    return _sdk_class()(signer)


class _Signable:
    """A request of httpx as signers read it."""

    def __init__(self, request: Any) -> None:
        self.method, self.url, self.headers = request.method, str(request.url), request.headers
        self.body: bytes = request.content
        self.path_url: str = request.url.raw_path.decode("ascii")


class _OciHttpAuth(Flow):
    requires_request_body = True

    def __init__(self, signer: OciSigner, compartment_id: str | None) -> None:
        self._signer, self._compartment = signer, compartment_id

    def put(self, request: Any, refused: Secret | None) -> Secret:
        request.read()
        if refused is not None:
            self._signer.renew(refused)
        return self._signer.sign(self._signable(request))

    async def aput(self, request: Any, refused: Secret | None) -> Secret:
        await request.aread()
        if refused is not None:
            await self._signer.arenew(refused)
        return await self._signer.asign(self._signable(request))

    def _signable(self, request: Any) -> _Signable:
        if self._compartment is not None:
            request.headers["CompartmentId"] = request.headers["opc-compartment-id"] = self._compartment
        return _Signable(request)


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
