"""A Cambio and what its tokens are for, on loopback. Both verify."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs

from cambio_client import Client, TokenSource

TARGET = "gateway"
BEARER = "urn:ietf:params:oauth:token-type:access_token"


def jwt(**claims: Any) -> str:
    """A token that nobody signed."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return ".".join([part({"alg": "none"}), part({"jti": secrets.token_hex(8), **claims}), "c2ln"])


class ManualClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self._start = time.time()
        self._passed = 0.0

    def advance(self, seconds: float) -> None:
        self._passed += seconds

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    def time(self) -> float:
        return self._start + self._passed

    def random(self) -> float:
        return 0.5

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Server:
    """Hands each request to answer, in a thread of its own."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def do_GET(self) -> None:
                headers = {k.lower(): v for k, v in self.headers.items()}
                answer = outer.answer(Request(self.command, self.path, headers, self._body()))
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_PUT = do_GET

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Cambio(Server):
    """The token endpoint: it takes one subject token and one target, and counts."""

    def __init__(self) -> None:
        self.subject = jwt(sub="workload", exp=int(time.time()) + 86400)
        self.life = 3600
        self.token_type, self.issued = "Bearer", BEARER
        self.make: Callable[[], str] = lambda: "vended-secret-" + secrets.token_hex(8)
        self.issues: list[str] = []
        self.down = False
        self.gate = threading.Event()  # exchanges wait for it
        self.gate.set()
        self.asked = threading.Semaphore(0)  # one for each exchange that has come
        self._lock = threading.Lock()
        super().__init__()

    def answer(self, request: Request) -> Answer:
        form = {k: v[0] for k, v in parse_qs(request.body.decode()).items()}
        fit = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": self.subject,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "audience": TARGET,
        }
        self.asked.release()
        self.gate.wait(30)
        if self.down:
            return Answer(503, b'{"error":"temporarily_unavailable","error_description":"try again"}')
        if request.path != "/oauth2/token" or {k: form.get(k) for k in fit} != fit:
            return Answer(400, b'{"error":"invalid_request","error_description":"not what was expected"}')
        with self._lock:
            value = self.make()
            self.issues.append(value)
        answer = {
            "access_token": value,
            "token_type": self.token_type,
            "issued_token_type": self.issued,
            "expires_in": self.life,
            "exchange_id": f"exchange-{len(self.issues)}",
        }
        return Answer(200, json.dumps(answer).encode())

    def source(self, clock: ManualClock | None = None) -> TokenSource:
        """A source of a client of its own."""
        return Client(self.url, identity=lambda: self.subject, clock=clock).token_source(TARGET)


class Gateway(Server):
    """Takes those tokens that accepted names, and answers what reply says."""

    def __init__(self, accepted: Callable[[str], bool]) -> None:
        self.accepted = accepted
        self.revoked: set[str] = set()
        self.requests: list[Request] = []
        self.reply: Callable[[Request], Answer] = lambda _: Answer()
        self._lock = threading.Lock()
        super().__init__()

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
        if not self.accepted(request.bearer) or request.bearer in self.revoked:
            return Answer(401, b'{"error":{"message":"who is that?","type":"authentication_error"}}')
        return self.reply(request)

    @property
    def statuses(self) -> list[int]:
        """What each request would be answered as things are now."""
        return [401 if r.bearer in self.revoked or not self.accepted(r.bearer) else 200 for r in self.requests]


T = TypeVar("T", bound=Server)


@contextmanager
def serving(server: T) -> Generator[T]:
    try:
        yield server
    finally:
        server.close()


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    """What work gives in so many threads that begin together; an exception is a result, too."""
    barrier, results = threading.Barrier(count), list[object]()

    def run() -> None:
        barrier.wait()
        try:
            results.append(work())
        except Exception as err:
            results.append(err)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results
