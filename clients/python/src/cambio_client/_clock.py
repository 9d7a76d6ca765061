"""The time and the chance, which tests bring themselves."""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Where the client takes the time from, in seconds. Safe for concurrent use.

    from cambio_client import SystemClock

    class Fast(SystemClock):
        def __init__(self) -> None:
            super().__init__()
            self.sleep = lambda seconds: None  # a test waits for nothing
    """

    def monotonic(self) -> float:
        """Seconds since some moment; never set back."""
        ...

    def time(self) -> float:
        """Seconds since 1970, as this machine believes."""
        ...

    def random(self) -> float:
        """A number in [0, 1)."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Returns after so many seconds."""
        ...


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemClock:
    """This machine's. Its monotonic time goes on while the machine sleeps, where the system has such a clock: a
    token dies in a closed laptop, too.

        from cambio_client import SystemClock

        print(SystemClock().monotonic())
    """

    def __init__(self) -> None:
        # Methods that call these would cost each use of a token a call more.
        self.monotonic = _since_boot if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
        self.time, self.random, self.sleep = time.time, random.random, time.sleep
