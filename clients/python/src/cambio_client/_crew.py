"""Threads for what must go on when its callers leave."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from ._fork import survives_fork

T = TypeVar("T")

LIMIT = 32
"""Threads at most, however many sources and coroutines there are; those that were begun by one of them come on top."""
IDLE = 10.0
"""Seconds until a thread without work ends."""


class Crew:
    """A few daemon threads, made when there is work: they hold up no interpreter that ends, as those of an executor
    do, and there are none in a forked child."""

    def __init__(self) -> None:
        self._here = threading.local()
        self.after_fork()
        survives_fork(self)

    def after_fork(self) -> None:
        self._change = threading.Condition()
        self._work: deque[Callable[[], None]] = deque()
        self._threads = self._idle = 0

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Does work in a thread, and gives what will come of it. The future cannot be cancelled.

        Raises RuntimeError where no thread can be started, as at the interpreter's end.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from here on a waiter that is cancelled leaves it alone

        def do() -> None:
            try:
                result = work()
            except BaseException as err:  # else whoever waits would wait forever
                future.set_exception(err)
            else:
                future.set_result(result)

        if getattr(self._here, "member", False):
            # Work that waits for this work holds a place already: places must not run out.
            threading.Thread(target=self._alone, args=(do,), name="cambio", daemon=True).start()
            return future
        with self._change:
            if self._idle <= len(self._work) and self._threads < LIMIT:
                threading.Thread(target=self._member, name="cambio", daemon=True).start()
                self._threads += 1
            self._work.append(do)
            self._change.notify()
        return future

    def _alone(self, do: Callable[[], None]) -> None:
        self._here.member = True
        do()

    def _member(self) -> None:
        self._here.member = True
        while True:
            with self._change:
                self._idle += 1
                while not self._work:
                    if not self._change.wait(IDLE) and not self._work:
                        self._idle -= 1
                        self._threads -= 1
                        return
                self._idle -= 1
                do = self._work.popleft()
            do()
            del do  # it holds what it gave


crew = Crew()


async def arrival(future: Future[T]) -> T:
    """Waits for a future of another thread, on whatever loop this is. Who is cancelled leaves the future alone."""
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def settle() -> None:
        if not arrived.done():
            arrived.set_result(None)

    def wake(_: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits on it
            loop.call_soon_threadsafe(settle)

    future.add_done_callback(wake)
    await arrived
    return future.result()
