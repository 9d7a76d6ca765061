"""Unmodified SDKs, in processes of their own, and the doors of an agent by hand."""

from __future__ import annotations

import http.client
import json
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SCRIPT = Path(__file__).resolve().parent / "scripts/ask.py"
DOOR, OPS = "127.0.0.1:0", "127.0.0.2:0"
"""Free ports; two names, since two listeners cannot have one."""


class Asking:
    """A program that goes on, with its SDKs' clients; what it prints besides its answers is in a log."""

    def __init__(self, python: str, environment: Mapping[str, str], directory: Path, log: Path, *modules: str) -> None:
        self._log = log
        with log.open("ab") as err:
            self._process = subprocess.Popen(
                [python, "-W", "ignore", str(SCRIPT), "--each-line", *modules],
                env=environment,
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )

    def ask(self, *calls: str, seconds: float = 60) -> dict[str, Any]:
        """What these calls are told now; without any: all of them."""
        assert self._process.stdin and self._process.stdout
        print(*calls, file=self._process.stdin, flush=True)
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise AssertionError(f"no answer within {seconds} s:\n{self._log.read_text()}")
        with self._log.open("a") as log:
            log.write(line)
        return json.loads(line)

    def stop(self) -> None:
        """Ends it, by the end of its input."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def request(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: str | None = None
) -> tuple[int, http.client.HTTPMessage, str]:
    """One request by hand, by way of no proxy: status, header and body of the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()
