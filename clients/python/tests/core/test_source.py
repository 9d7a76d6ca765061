"""The cache rules, which are those of the Go client."""

from __future__ import annotations

import asyncio
import copy

import pytest
from fake_cambio import FakeCambio, TestClock, bad, good, jwt

from cambio_client import CambioError, Client, ExchangeRefused, TokenSource

BUSY = bad(503, "temporarily_unavailable", "try later")


def joined(source: TokenSource) -> str:
    """The token once no exchange is under way: who needs it to live longer than the held one waits for that."""
    return source.token(min_left=1e9).value.reveal()


def value(source: TokenSource) -> str:
    return source.token().value.reveal()


@pytest.fixture
def source(client: Client) -> TokenSource:
    return client.token_source("github-mcp")


def test_one_exchange_serves_until_it_is_time(cambio: FakeCambio, clock: TestClock, source: TokenSource) -> None:
    assert value(source) == "vended-secret-1"
    clock.pass_by(900 - 180 - 1)
    assert value(source) == "vended-secret-1"
    assert asyncio.run(source.atoken()).value.reveal() == "vended-secret-1"
    assert cambio.exchanges == 1


@pytest.mark.parametrize(
    ("life", "chance", "early"),
    [(900, 0.5, 180), (900, 0.0, 144), (900, 0.999999, 216), (7200, 0.5, 300), (7200, 0.0, 240), (10, 0.5, 2)],
)
def test_renews_ahead_by_a_fifth_and_five_minutes_at_most(
    cambio: FakeCambio, clock: TestClock, source: TokenSource, life: int, chance: float, early: float
) -> None:
    cambio.life, clock.chance = life, chance
    token = source.token()
    assert token.expires_at - token.refresh_at == pytest.approx(early, rel=1e-3)
    clock.pass_by(life - early - 0.01)
    assert value(source) == "vended-secret-1"
    clock.pass_by(0.02)
    assert value(source) == "vended-secret-1"  # while one exchange goes on behind it
    assert joined(source) == "vended-secret-2"
    assert cambio.exchanges == 2


def test_others_get_the_current_one_while_one_renews(cambio: FakeCambio, clock: TestClock, source: TokenSource) -> None:
    value(source)
    cambio.gate.clear()
    clock.pass_by(800)
    assert {value(source) for _ in range(100)} == {"vended-secret-1"}
    cambio.gate.set()
    assert joined(source) == "vended-secret-2"
    assert cambio.exchanges == 2


def test_stale_is_served_until_it_dies_and_then_the_error(
    cambio: FakeCambio, clock: TestClock, source: TokenSource
) -> None:
    value(source)
    clock.pass_by(800)
    cambio.answers.extend([BUSY] * 100)
    assert value(source) == "vended-secret-1"
    with pytest.raises(ExchangeRefused):
        joined(source)
    assert value(source) == "vended-secret-1"
    clock.pass_by(100)
    with pytest.raises(ExchangeRefused) as caught:
        value(source)
    assert (caught.value.code, caught.value.retryable) == ("temporarily_unavailable", True)
    assert "exchange-of-refusal" in str(caught.value)
    cambio.answers.clear()
    clock.pass_by(60)
    assert value(source).startswith("vended-secret-")


def test_back_off_doubles_up_to_a_minute(cambio: FakeCambio, clock: TestClock, source: TokenSource) -> None:
    cambio.answers.extend([bad(400, "invalid_target")] * 8)
    for number, wait in enumerate([5, 10, 20, 40, 60, 60, 60]):
        with pytest.raises(ExchangeRefused):
            value(source)
        assert cambio.exchanges == number + 1
        clock.pass_by(wait * 0.75 - 0.01)  # chance is a half
        with pytest.raises(ExchangeRefused):
            value(source)
        assert cambio.exchanges == number + 1
        clock.pass_by(0.02)
    cambio.answers.clear()
    assert value(source) == "vended-secret-8"
    clock.pass_by(900)
    cambio.answers.append(bad(400, "invalid_target"))
    with pytest.raises(ExchangeRefused):
        value(source)
    clock.pass_by(3.76)  # a success has begun it anew
    assert value(source) == "vended-secret-10"


def test_retry_after_is_honoured(cambio: FakeCambio, clock: TestClock, source: TokenSource) -> None:
    cambio.answers.append(bad(429, "slow_down", Retry_After="120"))
    with pytest.raises(ExchangeRefused) as caught:
        value(source)
    assert caught.value.retry_after == 120
    clock.pass_by(119.9)
    with pytest.raises(ExchangeRefused):
        value(source)
    assert cambio.exchanges == 1
    clock.pass_by(0.2)
    assert value(source) == "vended-secret-2"


def test_a_rejected_token_is_replaced_once(cambio: FakeCambio, clock: TestClock, source: TokenSource) -> None:
    first = value(source)
    second = source.token(rejected=first).value.reveal()
    assert second == "vended-secret-2"
    for _ in range(50):
        assert source.token(rejected=first).value.reveal() == second
    assert asyncio.run(source.atoken(rejected=first)).value.reveal() == second
    assert cambio.exchanges == 2


def test_a_replacement_that_is_rejected_at_once_stays(
    cambio: FakeCambio, clock: TestClock, source: TokenSource
) -> None:
    second = source.token(rejected=value(source)).value
    clock.pass_by(9.9)
    assert source.token(rejected=second).value == second
    assert cambio.exchanges == 2
    clock.pass_by(0.2)
    assert source.token(rejected=second).value.reveal() == "vended-secret-3"


def test_a_rejected_token_and_a_server_that_is_down(cambio: FakeCambio, clock: TestClock, source: TokenSource) -> None:
    first = value(source)
    cambio.answers.extend([BUSY] * 3)
    for _ in range(50):
        with pytest.raises(ExchangeRefused):
            source.token(rejected=first)
    assert cambio.exchanges == 1 + 3


def test_min_left_renews_first(cambio: FakeCambio, clock: TestClock, source: TokenSource) -> None:
    value(source)
    clock.pass_by(839)
    assert source.token(min_left=60).remaining() == 61
    assert joined(source) == "vended-secret-2"
    cambio.life = 100
    clock.pass_by(841)
    assert source.token(min_left=60).value.reveal() == "vended-secret-3"
    assert source.token(min_left=60).value.reveal() == "vended-secret-3"
    clock.pass_by(51)  # of one that lives a hundred seconds, fifty are enough
    assert source.token(min_left=60).value.reveal() == "vended-secret-4"
    assert cambio.exchanges == 4


@pytest.mark.parametrize("jump", [-300, 300])
def test_a_wall_clock_that_jumps_moves_nothing(
    cambio: FakeCambio, clock: TestClock, source: TokenSource, jump: float
) -> None:
    token = source.token()
    clock.wall += jump
    assert token.remaining() == 900
    clock.pass_by(719)
    assert value(source) == "vended-secret-1"
    clock.pass_by(181)
    assert token.remaining() == 0
    assert value(source) == "vended-secret-2"


@pytest.mark.parametrize(("skew", "left"), [(0, 600), (300, 300), (-300, 900), (599.5, 0.5), (601, 900), (1e6, 900)])
def test_no_credential_outlives_its_subject(cambio: FakeCambio, clock: TestClock, skew: float, left: float) -> None:
    own = jwt("short", clock.wall + 600)
    cambio.subjects.add(own)
    clock.wall += skew  # five minutes and more between this machine and the issuer
    assert Client(cambio.url, identity=lambda: own, clock=clock).token_source("x").token().remaining() == left


def test_equal_requests_share_a_source(client: Client, own: str) -> None:
    assert client.token_source("a") is client.token_source("a")
    assert client.token_source("a", scopes=["x", "y"]) is client.token_source("a", scopes=("x", "y"))
    assert client.token_source("a") is not client.token_source("b")
    assert client.token_source("a") is not client.token_source(resource="a")
    assert client.token_source("a", subject=own) is not client.token_source("a", subject=own)


def test_a_client_keeps_a_bounded_number_of_sources(client: Client) -> None:
    first = client.token_source("0")
    for number in range(2000):
        client.token_source(str(number))
    assert client.token_source("0") is first
    assert client.token_source("1999") is not client.token_source("1999")


def test_copies_are_the_same(client: Client, source: TokenSource) -> None:
    for thing in (client, source, source.token()):
        assert copy.copy(thing) is thing
        assert copy.deepcopy({"framework": [thing]})["framework"][0] is thing


def test_errors_gather_no_tracebacks(cambio: FakeCambio, source: TokenSource) -> None:
    cambio.answers.append(bad(400, "invalid_target"))
    seen: list[CambioError] = []
    for _ in range(3):
        with pytest.raises(ExchangeRefused) as caught:
            value(source)
        seen.append(caught.value)
        depth, at = 0, caught.value.__traceback__
        while at is not None:
            depth, at = depth + 1, at.tb_next
        assert depth < 8
    assert len({id(error) for error in seen}) == 3


def test_held_and_failure_ask_nothing(cambio: FakeCambio, source: TokenSource) -> None:
    assert source.held() is None
    assert source.failure() is None
    cambio.answers.extend([good("vended-secret-held"), bad(400, "invalid_target")])
    token = source.token()
    with pytest.raises(ExchangeRefused):
        source.token(rejected=token.value)
    assert source.held() is token
    failure = source.failure()
    assert failure is not None
    assert failure.code == "invalid_target"
    assert cambio.exchanges == 2


def test_what_breaks_in_an_identity_reaches_the_caller(cambio: FakeCambio, clock: TestClock) -> None:
    def broken() -> str:
        raise RuntimeError("no such key")

    source = Client(cambio.url, identity=broken, clock=clock).token_source("x")
    with pytest.raises(CambioError, match="no such key"):
        source.token()


@pytest.mark.parametrize("life", [0, None])
def test_a_credential_that_has_ended_already_is_none(
    cambio: FakeCambio, client: Client, clock: TestClock, life: int | None
) -> None:
    cambio.answers.append(good(expires_in=life))
    source = client.token_source("t")
    for _ in range(3):
        with pytest.raises(ExchangeRefused, match="ended already") as caught:
            source.token()
        assert (caught.value.exchange_id, caught.value.retryable) == ("exchange-0", True)
    assert cambio.exchanges == 1  # and no more before the back-off has passed
    clock.pass_by(5)
    assert source.token().remaining() == 900
