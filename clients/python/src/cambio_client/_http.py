"""One request, bounded in time and size, that follows nothing and reveals nothing."""

from __future__ import annotations

import base64
import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ._address import loopback
from ._errors import CODE_FAILED, CODE_UNREACHABLE, CambioError, ServerUnreachable, misconfigured, plain, quiet
from ._version import __version__

MAX_ANSWER = 1 << 20
"""Bytes of an answer that are read; one more, so that it shows."""
USER_AGENT = f"cambio-client-python/{__version__}"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: what a Transport gives.

    from cambio_client import Response

    answer = Response(200, {"content-type": "application/json"}, b"{}")
    """

    status: int
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes = field(repr=False)
    """At most MAX_ANSWER + 1 bytes."""


class Transport(Protocol):
    """How a request is sent. It follows no redirect, since a request holds tokens, and is safe for concurrent use.

    from collections.abc import Mapping
    from cambio_client import Client, HttpTransport, Response

    class Counted:
        def __init__(self) -> None:
            self.count, self.inner = 0, HttpTransport()

        def send(
            self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float
        ) -> Response:
            self.count += 1
            return self.inner.send(method, url, headers, body, timeout)

    client = Client("https://cambio.example", identity="header.payload.signature", transport=Counted())
    """

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Response:
        """The answer, whatever its status. timeout: seconds for all of it. Raises ServerUnreachable or OSError."""
        ...


def post(
    transport: Transport,
    origin: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout: float,
    secrets: Iterable[str],
) -> Response | CambioError:
    """Posts to the server, and returns what goes wrong. secrets: what is sent, so that no error repeats it."""
    try:
        return transport.send("POST", origin + path, headers, body, timeout)
    except CambioError as err:
        failed = err.again()
        failed.description = quiet(failed.description, secrets)
        return failed.again()
    except (OSError, http.client.HTTPException) as err:
        fault = f"no answer from {origin}: {plain(quiet(str(err), secrets) or type(err).__name__)}"
        return ServerUnreachable(CODE_UNREACHABLE, fault, retryable=True)
    except Exception as err:
        return CambioError(CODE_FAILED, f"the transport broke: {plain(type(err).__name__)}")


class HttpTransport:
    """The standard library's http.client, a connection for each request: there is one in many minutes.

    ca_file: PEM certificates to trust in place of the system's; read anew for each connection, so that they can be
    rotated. HTTPS_PROXY and NO_PROXY are honoured; to this machine there is no proxy. An answer is read up to 1 MiB.
    Raises Misconfigured for a file without certificates, and ServerUnreachable.

        from cambio_client import Client, HttpTransport

        client = Client("https://cambio.example", transport=HttpTransport(ca_file="/etc/cambio/ca.pem"))
    """

    def __init__(self, ca_file: str | os.PathLike[str] | None = None) -> None:
        self._ca_file = ca_file
        self._system: ssl.SSLContext | None = None
        if ca_file is not None:
            try:
                ssl.create_default_context(cafile=ca_file)
            except (OSError, ValueError) as err:
                raise misconfigured(f"CA file {os.fspath(ca_file)}: it holds no certificates in PEM: {err}") from None

    def __repr__(self) -> str:
        return f"HttpTransport(ca_file={self._ca_file!r})"

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Response:
        """See Transport."""
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        try:
            return self._send(method, url, headers, body, time.monotonic() + timeout)
        except (OSError, http.client.HTTPException, ValueError) as err:
            fault = _words(err)
        # Raised here, and without what it is made of: those frames hold the tokens, and tools print frames.
        del url, headers, body
        raise ServerUnreachable(CODE_UNREACHABLE, f"no answer from {origin}: {fault}", retryable=True)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: float) -> Response:
        u = urlsplit(url)
        connection = self._connection(u.scheme, u.hostname or "", u.port, deadline)
        try:
            path = (u.path or "/") + ("?" + u.query if u.query else "")
            sent = {"User-Agent": USER_AGENT, "Connection": "close", **headers}
            connection.request(method, path, body=body, headers=sent)
            with connection.getresponse() as answer:
                text = bytearray()
                while len(text) <= MAX_ANSWER:
                    chunk = answer.read(min(64 << 10, MAX_ANSWER + 1 - len(text)))
                    if not chunk:
                        break
                    text += chunk
                if answer.length and len(text) <= MAX_ANSWER:
                    raise http.client.IncompleteRead(b"", answer.length)
                return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, bytes(text))
        finally:
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None, deadline: float) -> _Plain | _TLS:
        if scheme != "https":
            return _Plain(host, port, deadline)
        proxy = "" if loopback(host) else _proxy(host, port)
        if not proxy:
            return _TLS(host, port, deadline, self._context())
        p = urlsplit(proxy if "://" in proxy else "http://" + proxy)
        if p.scheme != "http" or not p.hostname:
            raise OSError("HTTPS_PROXY is no http:// URL")
        connection = _TLS(p.hostname, p.port or 80, deadline, self._context())
        authorization: dict[str, str] = {}
        if p.username is not None:
            pair = f"{unquote(p.username)}:{unquote(p.password or '')}"
            authorization["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        connection.set_tunnel(host, port or 443, headers=authorization)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._ca_file is not None:
            return ssl.create_default_context(cafile=self._ca_file)
        if self._system is None:
            self._system = ssl.create_default_context()
        return self._system


def _proxy(host: str, port: int | None) -> str:
    found = getproxies().get("https", "")
    return "" if not found or proxy_bypass(f"{host}:{port or 443}") else found


def _words(err: Exception) -> str:
    if isinstance(err, ssl.SSLCertVerificationError):
        return plain(
            f"its certificate is not trusted ({err.verify_message}): give the CA's file as ca_file or CAMBIO_CA_FILE"
        )
    if isinstance(err, TimeoutError):
        return "it took too long"
    if isinstance(err, OSError):
        return plain(err.strerror or str(err) or type(err).__name__)
    # Others quote: the server's line, which may repeat what it was sent, or the header that cannot be sent.
    return f"this is no HTTP ({type(err).__name__})"


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded:
    """A socket of which each operation ends by one deadline: http.client bounds only each read by itself."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        # The file keeps the socket open when http.client closes it, which it does before it reads.
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._sock, self._deadline = sock, deadline
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _dial(address: tuple[str, int], deadline: float) -> socket.socket:
    """Connects, to each address of a name in turn; those that do not answer share what time there is."""
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    failure: OSError = OSError("the name has no address")
    for i, (family, kind, protocol, _, where) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline) / (len(found) - i))
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(_left(deadline))  # of the handshake, which counts as one operation
            return sock
        except OSError as err:
            sock.close()
            failure = err
    raise failure


class _Plain(http.client.HTTPConnection):
    debuglevel = 0  # whatever a program sets for all of http.client: it would print the tokens

    def __init__(self, host: str, port: int | None, deadline: float) -> None:
        super().__init__(host, port)
        self._deadline = deadline

    def connect(self) -> None:
        self.sock = _Bounded(_dial((self.host, self.port), self._deadline), self._deadline)


class _TLS(http.client.HTTPSConnection):
    debuglevel = 0

    def __init__(self, host: str, port: int | None, deadline: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, context=context)
        self._deadline = deadline
        # http.client's own door for this (its tests use it); should it go, each address is bounded by itself.
        self.timeout = _left(deadline)
        self._create_connection = self._dial

    def _dial(self, address: tuple[str, int], *_: object) -> socket.socket:
        return _dial(address, self._deadline)

    def connect(self) -> None:
        super().connect()
        self.sock = _Bounded(self.sock, self._deadline)
