"""A token endpoint that verifies what it is sent and counts, and the time of a test."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl

PATIENCE = 30.0
"""Seconds until a test that hangs gives up."""


def jwt(name: str, expires: float | None = None) -> str:
    """Something that looks like a JWT of name's. It is made at run time, so that no file holds one."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims: dict[str, Any] = {"sub": name}
    if expires is not None:
        claims["exp"] = expires
    return f"{part({'alg': 'none'})}.{part(claims)}.sig-of-{name}"


class TestClock:
    """A time that moves when the test says so. sleep moves it, too."""

    __test__ = False

    def __init__(self) -> None:
        self.steady, self.wall, self.chance = 1000.0, 1_700_000_000.0, 0.5
        self.slept: list[float] = []
        self.asked = 0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        with self._lock:
            self.asked += 1
            self.counted(self.asked)
            return self.steady

    def counted(self, asked: int) -> None:
        """Is told how often the time was asked for: how a test knows that its callers have come."""

    def time(self) -> float:
        return self.wall

    def random(self) -> float:
        return self.chance

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        """So many seconds later."""
        self.steady += seconds
        self.wall += seconds


@dataclass
class Answer:
    """What the endpoint says to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


def good(value: str = "vended-secret-0", **changes: Any) -> Answer:
    """A credential as the server answers it; a change to None leaves a member out."""
    answer: dict[str, Any] = {
        "access_token": value,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": "tools.read",
        "exchange_id": "exchange-0",
        "lease_id": "lease-0",
        **changes,
    }
    return Answer(200, json.dumps({k: v for k, v in answer.items() if v is not None}).encode())


def bad(status: int, error: str = "", description: str = "", **headers: str) -> Answer:
    """A refusal as the server answers it."""
    body = {"error": error, "error_description": description, "exchange_id": "exchange-of-refusal"}
    return Answer(status, json.dumps(body).encode(), {k.replace("_", "-"): v for k, v in headers.items()})


class FakeCambio:
    """Answers in turn what answers holds, and then a credential with a number. What it is sent has to be an exchange
    with a token that it knows; else it answers 418 and keeps the fault, which makes the test fail."""

    def __init__(self) -> None:
        self.answers: deque[Answer | Callable[[dict[str, str]], Answer]] = deque()
        self.subjects: set[str] = set()
        self.life: int = 900
        self.forms: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""
        self._lock = threading.Lock()

    @property
    def exchanges(self) -> int:
        return len(self.forms)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
        form = dict(pairs)
        with self._lock:
            fault = self._fault(path, headers, form, len(pairs))
            if fault:
                self.faults.append(fault)
                return Answer(418)
            self.forms.append(form)
            self.headers.append(headers)
            number = len(self.forms)
            next_ = self.answers.popleft() if self.answers else None
        if not self.gate.wait(PATIENCE):
            self.faults.append("the gate stayed shut")
        if next_ is None:
            return good(f"vended-secret-{number}", expires_in=self.life)
        return next_(form) if callable(next_) else next_

    def _fault(self, path: str, headers: dict[str, str], form: dict[str, str], pairs: int) -> str:
        if path != "/oauth2/token":
            return f"path {path}"
        if headers.get("content-type") != "application/x-www-form-urlencoded":
            return "content type"
        if not headers.get("user-agent", "").startswith("cambio-client-python/"):
            return "user agent"
        if pairs != len(form) or "" in form.values():
            return "a parameter twice, or empty"
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange":
            return "grant type"
        if "audience" not in form and "resource" not in form:
            return "no target"
        if self.subjects and form.get("subject_token") not in self.subjects:
            return "a subject token of nobody's"
        for name in ("subject_token", "actor_token"):
            if (name in form) != (name + "_type" in form):
                return f"{name} and its type"
        return ""


class _Handler(BaseHTTPRequestHandler):
    fake: ClassVar[FakeCambio]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        answer = self.fake.answer(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a log could hold tokens."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is the client's affair."""


@contextmanager
def serving(fake: FakeCambio, tls: ssl.SSLContext | None = None, port: int = 0) -> Generator[FakeCambio]:
    """Serves on loopback while the block runs; at its end nothing may have been wrong."""
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = _Server(("127.0.0.1", port), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert fake.faults == []
