"""OciSigner with a key of its own, by what OCI verifies."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from house import ManualClock, at_once, serving
from oci_house import CHAT, HOST, KEY, OciCambio, Plain

from cambio_client import CambioError, Misconfigured, OciSigner


@pytest.fixture
def cambio() -> Iterator[OciCambio]:
    with serving(OciCambio()) as server:
        yield server


@pytest.fixture
def clock(cambio: OciCambio) -> ManualClock:
    class Shared(ManualClock):
        def advance(self, seconds: float) -> None:
            super().advance(seconds)
            cambio.passed += seconds

    return Shared()


@pytest.fixture
def signer(cambio: OciCambio, clock: ManualClock) -> OciSigner:
    return OciSigner(cambio.client(clock), key=KEY)


@pytest.mark.parametrize(
    "request_",
    [
        Plain(),
        Plain(body=None),
        Plain(body='{"schön": true}'),
        Plain(body=bytearray(b"abc"), headers={"Content-Type": "text/plain; charset=utf-8"}),
        Plain(
            "GET", "https://objectstorage.eu-frankfurt-1.oraclecloud.com/n/ns/b/bucket/o/a%20b?limit=2&prefix=%C3%A4"
        ),
        Plain("head", "https://127.0.0.1:8443"),
        Plain("DELETE", "http://[::1]:80/x".replace(":80", "")),
        Plain("PUT", "https://example.com/x", body=b""),
        Plain("PATCH", "https://EXAMPLE.com/x"),
    ],
    ids=lambda r: f"{r.method} {r.url[8:30]} {type(r.body).__name__}",
)
def test_what_is_signed_verifies(cambio: OciCambio, signer: OciSigner, request_: Plain) -> None:
    body = request_.body
    assert signer.do_request_sign(request_) is request_
    request_.method = request_.method.upper()
    cambio.verify(request_)
    assert request_.body is body
    assert signer(request_, enforce_content_headers=True) is request_  # a second time
    cambio.verify(request_)


def test_what_is_stale_is_overwritten_in_any_case(cambio: OciCambio, signer: OciSigner) -> None:
    stale: dict[Any, str] = {
        "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
        "HOST": "elsewhere.example",
        b"Authorization": "Bearer of-somebody",
        "authorization": "Bearer of-somebody-else",
        "X-Content-SHA256": "AAAA",
        "Content-Length": "7",
        "Content-Type": "application/json",
        "opc-request-id": "stays",
    }
    request = Plain(headers=stale)
    signer.do_request_sign(request)
    cambio.verify(request)
    assert request.headers["opc-request-id"] == "stays"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == HOST


def test_a_file_is_signed_from_where_it_is(cambio: OciCambio, signer: OciSigner) -> None:
    file = io.BytesIO(b"header" + b"x" * (3 << 20))
    file.seek(6)
    request = Plain("PUT", body=file)
    signer.do_request_sign(request)
    assert file.tell() == 6
    assert request.headers["content-type"] == "application/octet-stream"
    request.body = file.read()
    cambio.verify(request)


def test_uploads_leave_the_body_out(cambio: OciCambio, signer: OciSigner) -> None:
    request = Plain("PUT", headers={"content-length": "5", "x-content-sha256": "of another"}, body=iter([b"a"]))
    assert signer.without_content_headers(request) is request
    cambio.verify(request, with_content=False)
    assert request.headers["content-length"] == "5"
    assert "x-content-sha256" not in request.headers


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Plain("TRACE"), "no signatures for the method"),
        (Plain(url="/n/"), "absolute"),
        (Plain(url="ftp://example.com/"), "absolute"),
        (Plain(url="https://example.com:x/"), "is one"),
        (Plain(url="http://example.com/"), "over https"),
        (Plain(url="https://example.com/a b"), "encoded"),
        (Plain(url="https://example.com/ä"), "encoded"),
        (Plain(url="https://exämple.com/"), "ASCII"),
        (Plain(headers={"content-type": "text/plain\r\ndate: x"}), "one line"),
        (Plain(body=iter([b"a"])), "bytes, or a file"),
        (Plain(body=io.StringIO("text")), "bytes, or a file"),
        (Plain(body=5), "bytes, or a file"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_signed_says_why(cambio: OciCambio, signer: OciSigner, request_: Plain, says: str) -> None:
    before = dict(request_.headers)
    with pytest.raises(Misconfigured, match=says):
        signer.do_request_sign(request_)
    assert request_.headers == before
    assert cambio.exchanges == []


def test_it_renews_inside_do_request_sign_and_keeps_the_key(cambio: OciCambio, clock: ManualClock) -> None:
    signer = OciSigner(cambio.client(clock))
    tokens: list[str] = []
    for _ in range(5):
        request = Plain()
        signer.do_request_sign(request)
        tokens.append(cambio.verify(request))
        clock.advance(cambio.life - 30)  # less than a request needs
    assert len(set(tokens)) == len(cambio.exchanges) == 5
    assert len({form["public_key"] for form in cambio.exchanges}) == 1


def test_threads_that_renew_sign_with_one_credential_each(
    cambio: OciCambio, clock: ManualClock, signer: OciSigner
) -> None:
    def work() -> str:
        request = Plain()
        signer.do_request_sign(request)
        return cambio.verify(request)

    for renewals in range(1, 4):
        tokens = at_once(32, work)
        assert all(isinstance(token, str) for token in tokens), tokens
        assert len(set(tokens)) == 1
        assert len(cambio.exchanges) == renewals
        clock.advance(cambio.life)


def test_what_is_held_signs_until_it_dies(cambio: OciCambio, clock: ManualClock, signer: OciSigner) -> None:
    signer.do_request_sign(Plain())
    cambio.down = True
    clock.advance(cambio.life - 61)
    request = Plain()
    signer.do_request_sign(request)
    cambio.verify(request)
    clock.advance(62)
    with pytest.raises(CambioError, match="it is down"):
        signer.do_request_sign(Plain())


def test_in_coroutines(cambio: OciCambio, signer: OciSigner) -> None:
    async def one() -> str:
        request = Plain()
        assert await signer.ado_request_sign(request) is request
        return cambio.verify(request)

    async def all_() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(50)))

    assert len(set(asyncio.run(all_()))) == len(cambio.exchanges) == 1


def test_copies_are_itself_and_it_prints_nothing(cambio: OciCambio, signer: OciSigner) -> None:
    signer.do_request_sign(Plain())
    assert copy.copy(signer) is signer
    assert copy.deepcopy({"litellm_params": [signer]})["litellm_params"][0] is signer
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(signer)
    shown = repr(signer) + str(signer) + f"{signer}" + repr(vars(signer))
    assert "vended-secret-" not in shown


def test_region_and_token(cambio: OciCambio) -> None:
    signer = OciSigner(cambio.client(), key=KEY)
    assert signer.region == "us-ashburn-1"
    first = signer.get_security_token()
    assert first in cambio.keys
    signer.refresh_security_token()
    assert signer.get_security_token() not in ("", first)
    assert len(cambio.exchanges) == 2
    assert OciSigner(cambio.client(), key=KEY, region="eu-frankfurt-1").region == "eu-frankfurt-1"
    assert len(cambio.exchanges) == 2


def test_a_storm_of_refusals_renews_once(cambio: OciCambio, signer: OciSigner) -> None:
    used = signer.sign(Plain())
    assert at_once(50, lambda: signer.renew(used)) == [None] * 50
    assert len(cambio.exchanges) == 2


def pem(key: Any, encryption: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_keys_are_taken_from_files_and_from_what_looks_like_one(cambio: OciCambio, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(KEY, NoEncryption()))

    class Elsewhere:
        """A key of a security module."""

        public_key = staticmethod(KEY.public_key)
        sign = staticmethod(KEY.sign)

    given: list[Any] = [path, str(path), KEY, Elsewhere()]
    for key in given:
        request = Plain()
        OciSigner(cambio.client(), key=key).do_request_sign(request)
        cambio.verify(request)
    assert len({form["public_key"] for form in cambio.exchanges}) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "holds no private key"),
        (lambda: pem(KEY, BestAvailableEncryption(b"x")), "holds no private key"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1()), NoEncryption()), "RSA keys"),
        (lambda: pem(rsa.generate_private_key(65537, 1024), NoEncryption()), "2048 bits"),
        (None, "No such file"),
    ],
    ids=["empty", "a passphrase", "another kind", "too short", "missing"],
)
def test_a_bad_key_says_why(cambio: OciCambio, tmp_path: Path, make: Callable[[], bytes] | None, says: str) -> None:
    path = tmp_path / "key.pem"
    if make is not None:
        path.write_bytes(make())
    with pytest.raises(Misconfigured, match=says) as caught:
        OciSigner(cambio.client(), key=path)
    assert "PRIVATE KEY" not in str(caught.value)


def test_what_goes_together(cambio: OciCambio) -> None:
    client = cambio.client()
    bad: list[tuple[str, dict[str, Any]]] = [
        ("give that key", {"client_or_source": client.token_source("oci-genai")}),
        ("leave key out", {"client_or_source": client, "signing": "session", "key": KEY}),
        ("the Client", {"client_or_source": client.token_source("oci-genai"), "signing": "session"}),
        ('"key" or "session"', {"client_or_source": client, "signing": "blindly"}),
        ("RSA key", {"client_or_source": client, "key": 5}),
    ]
    for says, arguments in bad:
        with pytest.raises(Misconfigured, match=says):
            OciSigner(**arguments)


def test_a_source_for_ones_own_key(cambio: OciCambio) -> None:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    public = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    source = cambio.client().token_source("oci-genai", lifetime=600, public_key=public)
    request = Plain()
    OciSigner(source, key=KEY).do_request_sign(request)
    cambio.verify(request)
    assert cambio.exchanges[0]["requested_lifetime"] == "600"


@pytest.mark.parametrize(
    "value", ["eyJ", "[]", "{}", '{"token": "a b", "region": "r"}', '{"token": "a\\"", "region": "r"}', '{"token": 5}']
)
def test_a_credential_that_is_none_says_so_and_shows_nothing(cambio: OciCambio, signer: OciSigner, value: str) -> None:
    cambio.bend = {"access_token": value}
    with pytest.raises(CambioError, match="the credential has no") as caught:
        signer.do_request_sign(Plain(url=CHAT))
    assert caught.value.exchange_id == "exchange-1"
    assert value not in str(caught.value)
