"""OciSigner under the HTTP libraries, against a service that verifies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
import requests
from house import Answer, Request, Server, serving
from oci_house import KEY, OciCambio

from cambio_client import CambioError, OciSigner, oci_http_auth


class Oci(Server):
    """Takes what is signed with a token that is not revoked, and answers with the body."""

    def __init__(self, cambio: OciCambio) -> None:
        self.cambio = cambio
        self.revoked: set[str] = set()
        self.refuses = False
        self.requests: list[tuple[int, Request]] = []
        self._lock = threading.Lock()
        super().__init__()

    def answer(self, request: Request) -> Answer:
        url = self.url + request.path
        token = self.cambio.verified(request.method, url, request.headers, request.body)
        status = 401 if self.refuses or token in self.revoked else 200
        with self._lock:
            self.requests.append((status, request))
        return Answer(status, request.body or b"{}")

    def revoke(self) -> None:
        """Refuses the tokens that there are."""
        self.revoked |= set(self.cambio.keys)


@pytest.fixture
def cambio() -> Iterator[OciCambio]:
    with serving(OciCambio()) as server:
        yield server


@pytest.fixture
def oci(cambio: OciCambio) -> Iterator[Oci]:
    with serving(Oci(cambio)) as server:
        yield server


@pytest.fixture(params=["key", "session"])
def signer(request: pytest.FixtureRequest, cambio: OciCambio) -> OciSigner:
    if request.param == "session":
        return OciSigner(cambio.client(), signing="session")
    return OciSigner(cambio.client(), key=KEY)


def by_async(library: Any) -> Callable[..., Any]:
    def send(method: str, url: str, auth: Any, **options: Any) -> Any:
        async def go() -> Any:
            async with library.AsyncClient(auth=auth) as http:
                return await http.request(method, url, **options)

        return asyncio.run(go())

    return send


def by_sync(library: Any) -> Callable[..., Any]:
    def send(method: str, url: str, auth: Any, **options: Any) -> Any:
        with library.Client(auth=auth) as http:
            return http.request(method, url, **options)

    return send


LIBRARIES = {
    "httpx": by_sync(httpx),
    "httpx2": by_sync(httpx2),
    "async httpx": by_async(httpx),
    "async httpx2": by_async(httpx2),
}
Send = Callable[..., Any]


@pytest.fixture(params=LIBRARIES)
def send(request: pytest.FixtureRequest) -> Send:
    return LIBRARIES[request.param]


def test_each_request_is_signed(oci: Oci, cambio: OciCambio, signer: OciSigner, send: Send) -> None:
    auth = oci_http_auth(signer, compartment_id="ocid1.compartment.oc1..x")
    assert send("POST", oci.url + "/a%20b?c=d%2Fe", auth, json={"schön": 1}).json() == {"schön": 1}
    assert send("GET", oci.url, auth).status_code == 200
    assert (
        send("PUT", oci.url + "/x", auth, content=b"", headers={"Authorization": "Bearer of-nobody"}).status_code == 200
    )
    assert send("POST", oci.url + "/x", auth, data={"a": "b c"}).content == b"a=b+c"
    assert len(cambio.exchanges) == 1
    for _, request in oci.requests:
        assert request.headers["opc-compartment-id"] == request.headers["compartmentid"] == "ocid1.compartment.oc1..x"


def test_a_401_renews_once(oci: Oci, cambio: OciCambio, signer: OciSigner, send: Send) -> None:
    auth = oci_http_auth(signer)
    send("GET", oci.url, auth)
    oci.revoke()
    assert send("POST", oci.url, auth, content=b"{}").status_code == 200
    assert [status for status, _ in oci.requests] == [200, 401, 200]
    assert len(cambio.exchanges) == 2


def test_a_401_for_another_reason_is_the_answer(oci: Oci, cambio: OciCambio, signer: OciSigner, send: Send) -> None:
    auth = oci_http_auth(signer)
    oci.refuses = True
    for _ in range(3):
        assert send("GET", oci.url, auth).status_code == 401
    assert len(oci.requests) == 4  # once more with another credential, which is then not refused for its age
    assert len(cambio.exchanges) == 2


def test_a_401_without_a_renewal_is_the_answer(oci: Oci, cambio: OciCambio, send: Send) -> None:
    signer = OciSigner(cambio.client(), key=KEY)
    auth = oci_http_auth(signer)
    send("GET", oci.url, auth)
    oci.revoke()
    cambio.down = True
    assert send("GET", oci.url, auth).status_code == 401
    assert [status for status, _ in oci.requests] == [200, 401]


def test_no_credential_is_an_error_and_no_request(oci: Oci, cambio: OciCambio, signer: OciSigner, send: Send) -> None:
    cambio.down = True
    with pytest.raises(CambioError, match="it is down"):
        send("GET", oci.url, oci_http_auth(signer))
    assert oci.requests == []


def test_requests_takes_the_signer_itself(oci: Oci, cambio: OciCambio, signer: OciSigner) -> None:
    with requests.Session() as http:
        http.auth = signer
        assert http.post(oci.url + "/x?a=b c", json={"a": "ä"}, timeout=10).json() == {"a": "ä"}
        assert http.get(oci.url, timeout=10).status_code == 200
        assert http.put(oci.url + "/x", data="text", timeout=10).text == "text"
    assert len(cambio.exchanges) == 1


class Elsewhere(Server):
    """Where a redirect leads to. It refuses everybody."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        super().__init__()

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return Answer(401)


def test_s36_a_401_of_another_origin_renews_nothing(
    oci: Oci, cambio: OciCambio, signer: OciSigner, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Elsewhere()) as elsewhere:
        monkeypatch.setattr(oci, "answer", lambda _: Answer(307, b"", {"Location": elsewhere.url + "/x"}))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        assert send("POST", oci.url + "/x", oci_http_auth(signer), json={}, follow_redirects=True).status_code == 401
        assert ["authorization" in request.headers for request in elsewhere.requests] == [False]
    assert len(cambio.exchanges) == 1
