"""OciSigner where Cambio holds the key, by what OCI verifies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from house import ManualClock, at_once, serving
from oci_house import OciCambio, Plain

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
    return OciSigner(cambio.client(clock), signing="session")


def sign(cambio: OciCambio, signer: OciSigner, request: Plain | None = None) -> str:
    request = request or Plain()
    signer.do_request_sign(request)
    return cambio.verify(request)


def until(ready: Any) -> None:
    """Asks until a thread that renews has done so."""
    for _ in range(5000):
        if ready():
            return
    raise AssertionError("it did not come to that")


def test_what_is_signed_verifies(cambio: OciCambio, signer: OciSigner) -> None:
    for request in (
        Plain(),
        Plain(body=None),
        Plain("PUT", "https://example.com/x?y=%20", headers={"Content-Type": "text/plain", "Date": "stale"}, body=b"z"),
        Plain("GET", "https://example.com:8443/n/"),
    ):
        sign(cambio, signer, request)
    assert len(cambio.exchanges) == 1
    assert cambio.signed[-1] == {"method": "GET", "host": "example.com:8443", "path": "/n/", "query": ""}
    assert signer.region == "us-ashburn-1"


def test_the_body_is_covered_where_oracle_leaves_it_out(cambio: OciCambio, signer: OciSigner) -> None:
    request = Plain("PUT")
    signer.without_content_headers(request)
    cambio.verify(request)


def test_a_session_that_the_server_prolongs_is_used_on(
    cambio: OciCambio, clock: ManualClock, signer: OciSigner
) -> None:
    cambio.prolongs = True
    for _ in range(30):
        sign(cambio, signer)
        clock.advance(cambio.life / 9)
    assert len(cambio.exchanges) == 1


def test_one_that_is_not_prolonged_is_replaced_ahead(cambio: OciCambio, clock: ManualClock, signer: OciSigner) -> None:
    first = sign(cambio, signer)
    clock.advance(cambio.life * 0.89)
    assert sign(cambio, signer) == first
    assert len(cambio.exchanges) == 1
    clock.advance(cambio.life * 0.02)  # renew_time is a tenth of its life before its end
    assert sign(cambio, signer) == first  # nobody waits
    until(lambda: sign(cambio, signer) != first)
    assert len(cambio.exchanges) == 2


def test_the_old_one_signs_while_no_other_can_be_had(cambio: OciCambio, clock: ManualClock, signer: OciSigner) -> None:
    first = sign(cambio, signer)
    clock.advance(cambio.life * 0.91)
    cambio.subject, subject = "of-another", cambio.subject  # exchanges and signatures are refused
    with pytest.raises(CambioError):
        sign(cambio, signer)
    cambio.subject = subject
    assert sign(cambio, signer) == first


def test_one_that_is_revoked_is_replaced_once(cambio: OciCambio, signer: OciSigner) -> None:
    first = sign(cambio, signer)
    cambio.sessions.clear()
    tokens = at_once(20, lambda: sign(cambio, signer))
    assert len(set(tokens)) == 1
    assert first not in tokens
    assert len(cambio.exchanges) == 2
    cambio.sessions.clear()  # at once again: it is not for its age
    with pytest.raises(CambioError, match="no such session"):
        sign(cambio, signer)
    assert len(cambio.exchanges) == 2


def test_one_that_ended_unused_is_replaced(cambio: OciCambio, clock: ManualClock, signer: OciSigner) -> None:
    first = sign(cambio, signer)
    clock.advance(cambio.life + 1)
    assert sign(cambio, signer) != first
    assert len(cambio.exchanges) == 2


@pytest.mark.parametrize("skew", [-86400, -300, 300, 86400])
def test_a_wrong_clock_does_not_matter(cambio: OciCambio, skew: float) -> None:
    class Wrong(ManualClock):
        def time(self) -> float:
            return super().time() + skew

    signer = OciSigner(cambio.client(Wrong()), signing="session")
    assert sign(cambio, signer) == sign(cambio, signer)
    assert len(cambio.exchanges) == 1


def test_the_loop_goes_on_while_cambio_signs(cambio: OciCambio, signer: OciSigner) -> None:
    go_on = threading.Event()
    answer = cambio.answer

    async def both() -> str:
        loop, signing = asyncio.get_running_loop(), asyncio.Event()

        def held(request: Any) -> Any:
            loop.call_soon_threadsafe(signing.set)
            assert go_on.wait(30)
            return answer(request)

        cambio.answer = held
        request = Plain()
        task = asyncio.create_task(signer.ado_request_sign(request))
        await signing.wait()
        go_on.set()  # from the loop that waits for it
        await task
        return cambio.verify(request)

    asyncio.run(both())


@pytest.mark.parametrize(
    "bend",
    [
        {"headers": None},
        {"headers": {}},
        {"headers": {"authorization": "Signature", "date": "yesterday"}},
        {"headers": {"authorization": "Signature\r\nx: y", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}},
        {"headers": {"authorization": 5, "date": "Thu, 01 Jan 2026 00:00:00 GMT"}},
        {"expire_time": None},
        {"expire_time": "tomorrow"},
        {"renew_time": 5},
        {"renew_time": "2026-13-01T00:00:00Z"},
    ],
    ids=str,
)
def test_an_answer_that_is_none_changes_nothing(cambio: OciCambio, signer: OciSigner, bend: dict[str, Any]) -> None:
    sign(cambio, signer)
    cambio.bend = bend
    request = Plain()
    with pytest.raises(CambioError, match="cannot be read") as caught:
        signer.do_request_sign(request)
    assert request.headers == {}
    assert "vended-secret-" not in str(caught.value)
    cambio.bend = {}
    sign(cambio, signer)


def test_s36_the_session_token_is_with_cambio(cambio: OciCambio, signer: OciSigner) -> None:
    sign(cambio, signer)
    with pytest.raises(Misconfigured, match="Cambio holds"):
        signer.get_security_token()
    assert "vended-secret-" not in repr(signer) + repr(vars(signer))


def test_a_refresh_gets_another(cambio: OciCambio, signer: OciSigner) -> None:
    first = sign(cambio, signer)
    signer.refresh_security_token()
    assert sign(cambio, signer) != first
    assert len(cambio.exchanges) == 2


def test_the_lifetime_of_all_of_it(cambio: OciCambio) -> None:
    sign(cambio, OciSigner(cambio.client(), signing="session", lifetime=7200))
    assert cambio.exchanges[0]["requested_lifetime"] == "7200"


def test_an_identity_that_is_gone_says_so(cambio: OciCambio, signer: OciSigner) -> None:
    sign(cambio, signer)
    cambio.subject = ""
    with pytest.raises(CambioError, match="own token"):
        sign(cambio, signer)
