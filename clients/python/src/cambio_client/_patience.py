"""Asks once more what can be had once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ._clock import Clock
from ._errors import CambioError

P = TypeVar("P")
T = TypeVar("T")

ATTEMPTS = 3
"""At one thing, when the server cannot be reached or is busy."""


def patiently(
    prove: Callable[[], P], once: Callable[[P, float], T | CambioError], clock: Clock, timeout: float
) -> T | CambioError:
    """What once gives for the tokens of prove, by a few attempts within timeout seconds: after a pause where the error
    may pass, and at once, but only once, where the tokens were refused and are others by now.

    once is told when all of it has to end, and returns errors: a traceback would show its frame, which holds the
    tokens. What prove raises is not caught.
    """
    deadline = clock.monotonic() + timeout
    attempt = 1
    proof = prove()
    while True:
        answer = once(proof, deadline)
        if not isinstance(answer, CambioError) or attempt == ATTEMPTS:
            return answer
        if answer.retryable:
            wait = _pause(answer.retry_after, attempt, clock.random())
            if clock.monotonic() + wait > deadline:
                return answer
            clock.sleep(wait)
            proof = prove()
        elif attempt == 1 and answer.status in (400, 401):
            try:
                others = prove()
            except CambioError:
                return answer
            if others == proof:
                return answer
            proof = others
        else:
            return answer
        attempt += 1


def _pause(told: float, attempt: int, chance: float) -> float:
    """Seconds to wait before the next attempt."""
    base = 0.1 * 2**attempt
    return max(told, base / 2 + chance * base)
