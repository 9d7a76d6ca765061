"""Many at once: threads, coroutines, event loops, forks, and those who leave early."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_cambio import PATIENCE, FakeCambio, TestClock, good

import cambio_client
from cambio_client import Client, OidcClientCredentials, TokenSource

SRC = Path(__file__).parents[2] / "src"


class Turnstile(TestClock):
    """Opens the fake's gate once so many have asked for the time: then all of them are in."""

    def __init__(self, cambio: FakeCambio) -> None:
        super().__init__()
        self.cambio, self.wanted = cambio, 0

    def shut_until(self, callers: int) -> None:
        """Each caller asks for the time once; the exchange itself does so three times before it is sent."""
        self.wanted = self.asked + callers + 3
        self.cambio.gate.clear()

    def counted(self, asked: int) -> None:
        if asked >= self.wanted:
            self.cambio.gate.set()


@pytest.fixture
def turnstile(cambio: FakeCambio) -> Turnstile:
    return Turnstile(cambio)


@pytest.fixture
def source(cambio: FakeCambio, turnstile: Turnstile, own: str) -> TokenSource:
    return Client(cambio.url, identity=lambda: own, clock=turnstile, timeout=PATIENCE).token_source("github-mcp")


def at_once(count: int, work: Callable[[], str]) -> set[str]:
    """What count threads get that all begin together."""
    found: list[str] = []
    barrier = threading.Barrier(count)

    def one() -> None:
        barrier.wait(PATIENCE)
        found.append(work())

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == count
    return set(found)


def test_two_hundred_cold_threads(cambio: FakeCambio, turnstile: Turnstile, source: TokenSource) -> None:
    turnstile.shut_until(200)
    assert at_once(200, lambda: source.token().value.reveal()) == {"vended-secret-1"}
    assert cambio.exchanges == 1


def test_a_thousand_cold_coroutines(cambio: FakeCambio, turnstile: Turnstile, source: TokenSource) -> None:
    async def all_of_them() -> set[str]:
        return {token.value.reveal() for token in await asyncio.gather(*(source.atoken() for _ in range(1000)))}

    turnstile.shut_until(1000)
    before = threading.active_count()
    assert asyncio.run(all_of_them()) == {"vended-secret-1"}
    assert threading.active_count() <= before + 2  # one for the exchange, one for the fake's connection
    assert cambio.exchanges == 1


def test_a_thousand_cold_coroutines_on_ten_loops(cambio: FakeCambio, turnstile: Turnstile, source: TokenSource) -> None:
    async def some_of_them() -> str:
        (one,) = {token.value.reveal() for token in await asyncio.gather(*(source.atoken() for _ in range(100)))}
        return one

    turnstile.shut_until(1000)
    assert at_once(10, lambda: asyncio.run(some_of_them())) == {"vended-secret-1"}
    assert cambio.exchanges == 1


def test_threads_and_coroutines_together(cambio: FakeCambio, turnstile: Turnstile, source: TokenSource) -> None:
    turnstile.shut_until(20)

    def either() -> str:
        if threading.get_ident() % 2:
            return source.token().value.reveal()
        return asyncio.run(source.atoken()).value.reveal()

    assert at_once(20, either) == {"vended-secret-1"}
    assert cambio.exchanges == 1


def test_a_thousand_cold_sources_take_few_threads(cambio: FakeCambio, turnstile: Turnstile, own: str) -> None:
    client = Client(cambio.url, identity=lambda: own, clock=turnstile, timeout=PATIENCE)
    most = 0

    async def all_of_them() -> int:
        nonlocal most
        waiting = [asyncio.ensure_future(client.token_source(f"t{i}").atoken()) for i in range(1000)]
        await asyncio.sleep(0)  # each has begun
        most = sum(thread.name == "cambio" for thread in threading.enumerate())
        cambio.gate.set()
        return len({token.value.reveal() for token in await asyncio.gather(*waiting)})

    cambio.gate.clear()
    turnstile.wanted = sys.maxsize
    assert asyncio.run(all_of_them()) == 1000
    assert most <= 32
    assert cambio.exchanges == 1000


def test_a_chain_of_sources_that_is_longer_than_there_are_threads(cambio: FakeCambio, own: str) -> None:
    """Each source's subject is the credential of the one before, so that all of them are under way at once."""
    cambio.subjects.clear()
    client = Client(cambio.url, identity=lambda: own, timeout=PATIENCE)
    source = client.token_source("link")
    for _ in range(60):
        source = client.token_source(
            "link", subject=lambda before=source: f"{before.token().value.reveal()}.b.c", lifetime=60
        )
    assert source.token().value.reveal() == "vended-secret-61"


def test_fifty_rejections_are_one_renewal(cambio: FakeCambio, turnstile: Turnstile, source: TokenSource) -> None:
    rejected = source.token().value.reveal()
    turnstile.shut_until(50)
    assert at_once(50, lambda: source.token(rejected=rejected).value.reveal()) == {"vended-secret-2"}
    assert cambio.exchanges == 2
    digest = base64.urlsafe_b64encode(hashlib.sha256(rejected.encode()).digest()).decode().rstrip("=")
    assert cambio.forms[-1].get("rejected_sha256") == digest, "the server would give the same again"
    assert "rejected_sha256" not in cambio.forms[0]


def test_fifty_rejections_on_an_event_loop_are_one_renewal(
    cambio: FakeCambio, turnstile: Turnstile, source: TokenSource
) -> None:
    async def all_of_them(rejected: str) -> set[str]:
        found = await asyncio.gather(*(source.atoken(rejected=rejected) for _ in range(50)))
        return {token.value.reveal() for token in found}

    rejected = source.token().value.reveal()
    turnstile.shut_until(50)
    assert asyncio.run(all_of_them(rejected)) == {"vended-secret-2"}
    assert cambio.exchanges == 2


def test_who_is_cancelled_leaves_the_exchange_alone(cambio: FakeCambio, source: TokenSource) -> None:
    async def most_of_them_leave() -> set[str]:
        tasks = [asyncio.ensure_future(source.atoken()) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks[:99]:
            task.cancel()
        left = await asyncio.gather(*tasks[:99], return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in left)
        cambio.gate.set()
        return {(await tasks[99]).value.reveal()}

    cambio.gate.clear()
    assert asyncio.run(most_of_them_leave()) == {"vended-secret-1"}
    assert cambio.exchanges == 1


def test_where_all_are_cancelled_and_the_loop_ends_the_next_gets_what_came(
    cambio: FakeCambio, source: TokenSource
) -> None:
    async def impatient() -> None:
        task = asyncio.ensure_future(source.atoken())
        await asyncio.sleep(0)
        task.cancel()

    cambio.gate.clear()
    asyncio.run(impatient())
    cambio.gate.set()
    assert source.token().value.reveal() == "vended-secret-1"
    assert cambio.exchanges == 1


def test_a_loop_that_is_closed_over_its_waiters_spoils_nothing(cambio: FakeCambio, source: TokenSource) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(source.atoken())
    loop.call_soon(loop.stop)
    cambio.gate.clear()
    loop.run_forever()
    task.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    cambio.gate.set()
    assert source.token().value.reveal() == "vended-secret-1"


def test_aexchange_of_one_who_leaves(cambio: FakeCambio, client: Client) -> None:
    async def leave_and_ask() -> str:
        task = asyncio.ensure_future(client.aexchange("x"))
        await asyncio.sleep(0)
        task.cancel()
        cambio.answers.clear()
        return (await client.aexchange("x")).value.reveal()

    assert asyncio.run(leave_and_ask()).startswith("vended-secret-")


def test_many_callers_of_an_openid_provider_are_one_request(own: str) -> None:
    asked: list[str] = []
    entered = threading.Event()

    class Provider:
        def send(self, method: str, url: str, headers: object, body: object, timeout: float) -> cambio_client.Response:
            asked.append(url)
            entered.set()
            return cambio_client.Response(200, {}, good("provider-token", expires_in=300).body)

    identity = OidcClientCredentials("https://id.example/token", "me", "pass", transport=Provider())
    assert at_once(100, lambda: identity.identity_token().value.reveal()) == {"provider-token"}
    assert len(asked) == 1


def in_child(work: Callable[[], object]) -> None:
    """Runs work in a forked child; what it raises fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_child_keeps_what_is_held_and_asks_for_itself(cambio: FakeCambio, client: Client) -> None:
    source = client.token_source("warm")
    source.token()

    def child() -> None:
        assert source.token().value.reveal() == "vended-secret-1"
        assert client.token_source("warm") is source
        assert source.token(rejected="vended-secret-1").value.reveal() == "vended-secret-2"
        assert asyncio.run(client.token_source("cold").atoken()).value.reveal() == "vended-secret-3"

    in_child(child)
    assert source.token().value.reveal() == "vended-secret-1"
    assert cambio.exchanges == 3


def test_a_child_of_a_fork_while_all_locks_are_held(cambio: FakeCambio, client: Client, own: str) -> None:
    """The exchange that is under way is the parent's: the child makes its own, and waits for nobody."""
    source = client.token_source("cold")
    cambio.gate.clear()
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            client.token_source("cold")

    def child() -> None:
        cambio.gate.set()  # of the child's memory, and of no server: that is the parent's
        assert client.token_source("other") is not source
        fresh = Client(cambio.url, identity=lambda: own, transport=Memory())
        assert fresh.token_source("x").token().value.reveal() == "of-the-child"

    threads = [threading.Thread(target=source.token), *(threading.Thread(target=busy) for _ in range(3))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            in_child(child)
    finally:
        stop.set()
        cambio.gate.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert source.token().value.reveal() == "vended-secret-1"
    assert cambio.exchanges == 1


class Memory:
    """A transport that answers by itself."""

    def send(self, method: str, url: str, headers: object, body: object, timeout: float) -> cambio_client.Response:
        return cambio_client.Response(200, {}, good("of-the-child").body)


PROGRAM = """
import sys, threading
from cambio_client import Client, Response

class Silent:
    def send(self, *_):
        entered.set()
        threading.Event().wait()

entered = threading.Event()
source = Client("https://cambio.example", identity=lambda: "a.b.c", transport=Silent()).token_source("x")
threading.Thread(target=source.token, daemon=True).start()
entered.wait()
{more}
"""


@pytest.mark.parametrize(
    "more",
    [
        "",
        "sys.exit(0)",
    ],
)
def test_an_interpreter_that_ends_waits_for_no_exchange(more: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(more=more)],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        timeout=PATIENCE,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_at_the_interpreters_end_there_is_an_error_and_what_is_held() -> None:
    """From Python 3.12 on no thread can be started any more then."""
    program = """
import atexit
from cambio_client import CambioError, Client, Response

class Once:
    life = 900
    def send(self, *_):
        return Response(200, {}, b'{"access_token": "t", "expires_in": 0.5}')

class Clock:
    now = 0.0
    def monotonic(self): return self.now
    def time(self): return 1e9
    def random(self): return 0.5
    def sleep(self, seconds): pass

clock = Clock()
source = Client("https://cambio.example", identity=lambda: "a.b.c", transport=Once(), clock=clock).token_source("x")
source.token()

@atexit.register
def late():
    clock.now = 0.45
    print(source.token().value.reveal())
    clock.now = 5
    try:
        print(source.token().value.reveal())
    except CambioError as err:
        print("t")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        timeout=PATIENCE,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "t\nt\n", "")
