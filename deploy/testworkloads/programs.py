"""Programs that run beside the tests, all on loopback, and end with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def eventually(what: str, ready: Callable[[], T], seconds: float = 30) -> T:
    """Asks until the answer is true, and gives it."""
    end = time.monotonic() + seconds
    while not (answer := ready()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return answer


class Program:
    """One program, its output in a log file, as a process group of its own."""

    def __init__(self, name: str, log: Path, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        self.name, self.log = name, log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, cwd=directory, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def until(self, what: str, ready: Callable[[], T], seconds: float = 30) -> T:
        """eventually, unless the program ends before."""

        def ask() -> T:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended by itself with status {self.process.returncode}:\n{self.text()}")
            return ready()

        return eventually(f"{self.name}: {what}", ask, seconds)

    def text(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Sends it a signal, such as SIGHUP."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ends it as an operator does, and whatever it started if that takes too long; its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()
