"""A source against a model of its rules: threads, event loops, forks, and those who leave, round after round.

In a round the time stands still, so that what is right is known to the second; who comes first is chance.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from fake_cambio import PATIENCE, TestClock, bad, good, jwt
from test_crowd import in_child

from cambio_client import CambioError, Client, Response, Token, TokenSource

THREADS = 8
TASKS = 6
ROUNDS = 150


class Model:
    """A server as a transport, which knows when it may be asked, and whether what is given out is good."""

    def __init__(self, clock: TestClock, chance: random.Random) -> None:
        self.clock, self.chance = clock, chance
        self.gate = threading.Event()
        self.gate.set()
        self.faults: list[str] = []
        self.lives: dict[str, tuple[float, float]] = {}  # by value: when it ends, and half its life
        self.last = ""
        self.exchanges = self.inside = self.refused = 0
        self.resting = 0.0
        self.busy = False
        self.lock = threading.Lock()

    def now(self) -> float:
        return self.clock.steady

    def send(self, method: str, url: str, headers: object, body: object, timeout: float) -> Response:
        with self.lock:
            self.exchanges += 1
            self.inside += 1
            if self.inside > 1:
                self.faults.append("two exchanges at once")
            if self.now() < self.resting:
                self.faults.append("asked within the back-off")
        if not self.gate.wait(PATIENCE):
            self.faults.append("the gate stayed shut")
        with self.lock:
            self.inside -= 1
            if self.busy:
                told = self.chance.choice([0, 0, 7, 90])
                self.resting = self.now() + max(min(5 * 2 ** min(self.refused, 8), 60) / 2, told)
                self.refused += 1
                answer = bad(403, "access_denied", Retry_After=str(told))
                return Response(403, {"retry-after": str(told)}, answer.body)
            self.refused, self.resting = 0, 0.0
            life = self.chance.choice([1, 30, 100, 900, 3600])
            self.last = f"issued-{self.exchanges}"
            self.lives[self.last] = self.now() + life, life / 2
            return Response(200, {}, good(self.last, expires_in=life).body)

    def got(self, token: Token, min_left: float) -> None:
        """A caller was given a token."""
        ends, half = self.lives[token.value.reveal()]
        if ends - self.now() <= min(min_left, half):
            self.faults.append(f"{ends - self.now()} s are left, where {min_left} were wanted")

    def none(self, kind: str, min_left: float, last: str) -> None:
        """A caller was given an error. last: what had been issued when the round began."""
        ends, half = self.lives.get(last, (0.0, 0.0))
        if kind == "token" and ends - self.now() > min(min_left, half):
            self.faults.append("an error, where one that was good is held")
        if not self.refused:
            self.faults.append("an error, where the server gave none")


@contextmanager
def loop() -> Generator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    try:
        yield made
    finally:
        made.call_soon_threadsafe(made.stop)
        thread.join(PATIENCE)
        made.close()


class Crowd:
    """Those who ask."""

    def __init__(self, model: Model, source: TokenSource) -> None:
        self.model, self.source = model, source

    def judge(self, kind: str, min_left: float, last: str, ask: Callable[[], Token]) -> None:
        try:
            token = ask()
        except CambioError:
            self.model.none(kind, min_left, last)
        else:
            if kind == "token":
                self.model.got(token, min_left)
            elif token.value.reveal() not in self.model.lives:
                self.model.faults.append("a token of nobody's")

    def ask(self, kind: str, min_left: float, last: str) -> None:
        rejected = last if kind == "rejected" else None
        self.judge(kind, min_left, last, lambda: self.source.token(rejected=rejected, min_left=min_left))

    async def aask(self, kind: str, min_left: float, last: str, leave: int) -> None:
        """Several tasks, of which the first ones are cancelled midway."""
        rejected = last if kind == "rejected" else None
        tasks = [asyncio.ensure_future(self.source.atoken(rejected=rejected, min_left=min_left)) for _ in range(TASKS)]
        await asyncio.sleep(0)
        for task in tasks[:leave]:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Token):
                self.judge(kind, min_left, last, lambda result=result: result)
            elif isinstance(result, CambioError):
                self.model.none(kind, min_left, last)
            elif not isinstance(result, asyncio.CancelledError):
                self.model.faults.append(repr(result))


def settle(source: TokenSource) -> None:
    """Waits for the exchange that is under way: who wants a longer life than the held one's waits for it."""
    with suppress(CambioError):
        source.token(min_left=1e9)


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_against_the_model(seed: int) -> None:
    chance, clock = random.Random(seed), TestClock()
    model = Model(clock, chance)
    source = Client("https://cambio.example", identity=jwt("own"), transport=model, clock=clock).token_source("t")
    crowd = Crowd(model, source)
    with ThreadPoolExecutor(THREADS) as threads, loop() as one, loop() as other:
        for _ in range(ROUNDS):
            clock.chance = chance.random() * 0.999
            clock.pass_by(chance.choice([0, 0.5, 2, 6, 11, 29, 80, 700]))
            model.busy = chance.random() < 0.3
            kind, min_left = chance.choice(["token", "token", "rejected"]), chance.choice([0.0, 0.0, 60.0])
            before, last = model.exchanges, model.last
            model.gate.clear()
            work: list[Future[None]] = [threads.submit(crowd.ask, kind, min_left, last) for _ in range(THREADS)]
            for where in (one, other):
                asked = crowd.aask(kind, min_left, last, chance.randrange(TASKS + 1))
                work.append(asyncio.run_coroutine_threadsafe(asked, where))
            if chance.random() < 0.1:  # while an exchange is under way, as often as not

                def child() -> None:
                    model.gate.set()
                    model.lock, model.inside, model.busy, model.resting = threading.Lock(), 0, False, 0.0
                    crowd.ask("token", 0.0, "")
                    assert [fault for fault in model.faults if "error" not in fault] == []

                in_child(child)
            model.gate.set()
            for done in work:
                done.result(PATIENCE)
            # All came with the same, so one exchange was enough, whatever came of it.
            if model.exchanges > before + 1:
                model.faults.append(f"{model.exchanges - before} exchanges")
            assert model.faults == []
            settle(source)
    assert model.faults == []
    assert model.exchanges > ROUNDS / 10
    assert model.refused + len(model.lives) > ROUNDS / 10
