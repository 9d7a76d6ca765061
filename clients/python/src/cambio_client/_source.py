"""Keeps the credential of one request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from ._clock import Clock
from ._crew import arrival, crew
from ._errors import CODE_FAILED, CambioError, plain
from ._fork import survives_fork
from ._secret import Secret, same
from ._single import Single
from ._token import Token

BACK_OFF = 5.0
"""Seconds that a source does not ask after a failure; doubles with each further one, up to MAX_BACK_OFF."""
MAX_BACK_OFF = 60.0
STORM_WINDOW = 10.0
"""Seconds that a credential that replaced a rejected one is not replaced again: who refuses that too does not refuse
for its age."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A credential, and what is asked about it at each call."""

    token: Token
    ends: float
    renews: float
    half: float  # of its life, in seconds
    forced: float | None  # when it replaced one that was rejected; None: it did not

    def lasts(self, now: float, min_left: float) -> bool:
        return self.ends - now > (min_left if min_left < self.half else self.half)


# What became of an exchange. Errors are values here, since each waiter raises one of its own.
_Outcome = Token | CambioError


class TokenSource(Single):
    """Keeps the credential of one request: it asks when there is none, renews ahead, and serves what is still good
    while the server cannot be asked. However many callers there are, on threads and event loops, one exchange is under
    way at a time. It is safe for forks, and is its own copy. Client.token_source makes it.

        from cambio_client import Client

        source = Client().token_source("github-mcp")
        token = source.token(min_left=60)  # seconds
        print(source.token(rejected=token.value).exchange_id)  # after a 401: another one
    """

    def __init__(self, exchange: Callable[[Secret | None], Token], name: str, clock: Clock) -> None:
        self._exchange, self._name, self._clock = exchange, name, clock
        self._monotonic = clock.monotonic
        self._current: _Held | None = None
        self._failures = 0
        self._failed: CambioError | None = None
        self._until = 0.0  # nothing is asked before
        self.after_fork()
        survives_fork(self)

    def __repr__(self) -> str:
        return f"TokenSource({self._name!r}, held={self.held()!r})"

    def after_fork(self) -> None:
        """The exchange that was under way is the parent's; what is held is good here, too."""
        self._lock = threading.Lock()
        self._flight: Future[_Outcome] | None = None

    def token(self, *, rejected: str | Secret | None = None, min_left: float = 0.0) -> Token:
        """A credential that is good at this moment: the held one, or what an exchange gives. Raises CambioError.

        min_left: seconds that it has to live yet; where the held one ends sooner, it is renewed first. Of credentials
        that live less than twice as long, half their life is enough.

        rejected: the value that somebody refused, to get another one. Who comes with one that was replaced already
        gets the replacement, so that a hundred refusals cause one exchange; and a replacement that is rejected within
        ten seconds is returned as it is: it was not refused for its age.
        """
        found = self._find(rejected, min_left)
        del rejected  # tools show the variables of a frame that fails
        return _given(found if not isinstance(found, Future) else found.result())

    async def atoken(self, *, rejected: str | Secret | None = None, min_left: float = 0.0) -> Token:
        """token, on any asyncio event loop. Where a caller is cancelled the exchange goes on: others wait for it."""
        found = self._find(rejected, min_left)
        del rejected  # tools show the variables of a frame that fails
        return _given(found if not isinstance(found, Future) else await arrival(found))

    def held(self) -> Token | None:
        """The credential that is held, good or not, for who shows the state of things; nothing is asked."""
        held = self._current
        return None if held is None else held.token

    def failure(self) -> CambioError | None:
        """Why the last exchange gave nothing; None: it gave a credential, or there was none."""
        failed = self._failed
        return None if failed is None else failed.again()

    def _find(self, rejected: str | Secret | None, min_left: float) -> _Outcome | Future[_Outcome]:
        """What is held, or the exchange to wait for."""
        now = self._monotonic()
        held = self._current
        if rejected is None:
            if held is None or not held.lasts(now, min_left):
                return self._start(now, min_left)
            if now >= held.renews:
                self._start(now, min_left)  # ahead, and nobody waits
            return held.token
        if held is not None and now < held.ends:
            value = rejected.reveal() if isinstance(rejected, Secret) else rejected
            if not same(held.token.value.reveal(), value):
                return held.token
            if held.forced is not None and now - held.forced < STORM_WINDOW:
                return held.token
        with self._lock:
            current = self._current
            if current is not None and current is not held:
                return current.token
            return self._start_locked(now, None if current is None else current.token.value)

    def _start(self, now: float, min_left: float) -> _Outcome | Future[_Outcome]:
        with self._lock:
            held = self._current
            if held is not None and now < held.renews and held.lasts(now, min_left):
                return held.token  # somebody was faster; it is as good as it gets
            return self._start_locked(now, None)

    def _start_locked(self, now: float, rejected: Secret | None) -> _Outcome | Future[_Outcome]:
        if self._flight is not None:
            return self._flight
        if self._failed is not None and now < self._until:
            return self._failed
        try:
            self._flight = crew.start(lambda: self._fly(rejected))
        except RuntimeError as err:  # no thread can be started any more
            return CambioError(CODE_FAILED, plain(str(err)))
        return self._flight

    def _fly(self, rejected: Secret | None) -> _Outcome:
        """Asks the server, in a thread that no caller can take away."""
        began = self._monotonic()
        try:
            outcome: _Outcome = self._exchange(rejected)
        except CambioError as err:
            outcome = err.again()  # without its traceback
        except BaseException as err:
            outcome = CambioError(CODE_FAILED, f"the exchange broke: {plain(type(err).__name__)}")
        chance, now = self._clock.random(), self._monotonic()
        with self._lock:
            self._flight = None
            if isinstance(outcome, Token):
                self._current = _Held(
                    outcome,
                    outcome.ends,
                    outcome.renews,
                    (outcome.ends - began) / 2,
                    None if rejected is None else began,
                )
                self._failures, self._failed = 0, None
            else:
                wait = min(BACK_OFF * 2 ** min(self._failures, 8), MAX_BACK_OFF)
                self._until = now + max(wait / 2 + chance * wait / 2, outcome.retry_after)
                self._failures += 1
                self._failed = outcome
        return outcome


def _given(outcome: _Outcome) -> Token:
    if isinstance(outcome, Token):
        return outcome
    raise outcome.again()
