"""The transport: certificates, time, size, proxies."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from fake_cambio import FakeCambio, TestClock, jwt, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from cambio_client import Client, ExchangeRefused, HttpTransport, Misconfigured, ServerUnreachable


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert: Any = authority.issue_cert(name)
    cert.configure_cert(context)
    return context


def pem(authority: trustme.CA, path: Path) -> Path:
    path.write_bytes(authority.cert_pem.bytes())
    return path


def test_the_ca_that_is_given_is_trusted(
    own: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca_file = pem(authority, tmp_path / "ca.pem")
    with serving(FakeCambio(), tls(authority)) as cambio:
        Client(cambio.url, identity=own, ca_file=ca_file).exchange("t")
        monkeypatch.setenv("CAMBIO_CA_FILE", str(ca_file))
        Client(cambio.url, identity=own).exchange("t")
        assert cambio.exchanges == 2


def test_the_ca_file_is_read_anew(own: str, authority: trustme.CA, tmp_path: Path) -> None:
    path = pem(trustme.CA(), tmp_path / "ca.pem")
    with serving(FakeCambio(), tls(authority)) as cambio:
        client = Client(cambio.url, identity=own, ca_file=path, clock=TestClock())
        with pytest.raises(ServerUnreachable, match="not trusted"):
            client.exchange("t")
        pem(authority, path)
        Client(cambio.url, identity=own, ca_file=path).exchange("t")
        client = Client(cambio.url, identity=own, ca_file=path)
        path.unlink()
        with pytest.raises(ServerUnreachable, match="No such file"):
            client.exchange("t")


@pytest.mark.parametrize("case", ["another authority", "the system's", "another name"])
def test_certificates_that_are_not_trusted(own: str, authority: trustme.CA, tmp_path: Path, case: str) -> None:
    ca_file = {
        "another authority": pem(trustme.CA(), tmp_path / "other.pem"),
        "the system's": None,
        "another name": pem(authority, tmp_path / "ca.pem"),
    }[case]
    name = "cambio.example" if case == "another name" else "127.0.0.1"
    with serving(FakeCambio(), tls(authority, name)) as cambio:
        with pytest.raises(ServerUnreachable, match="give the CA's file as ca_file or CAMBIO_CA_FILE"):
            Client(cambio.url, identity=own, ca_file=ca_file, clock=TestClock()).exchange("t")
        assert cambio.exchanges == 0


@contextmanager
def answering(say: Callable[[socket.socket], None]) -> Generator[str]:
    """Something that is no HTTP server: says what it says to each that connects."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        try:
            say(connection)
        except OSError:
            connection.close()  # the client has gone

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in open_:
            connection.close()


def raw(text: bytes) -> Callable[[socket.socket], None]:
    def say(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(text)
        connection.shutdown(socket.SHUT_RDWR)

    return say


RAW = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a broken status": b"HTTP/1.1 abc OK\r\n\r\n",
    "half of the body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
    "half of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{}\r\n",
    "a giant line": b"HTTP/1.1 200 " + b"a" * 100_000,
    "a giant header": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
    "a thousand headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000,
    "an endless 100": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_answer(own: str, name: str) -> None:
    with answering(raw(RAW[name])) as url, pytest.raises(ServerUnreachable) as caught:
        Client(url, identity=own, clock=TestClock()).exchange("t")
    assert caught.value.retryable
    assert caught.value.description.startswith(f"no answer from {url}: ")


@settings(max_examples=50)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_over_the_wire_is_an_error(text: bytes, begins: bool) -> None:
    say = raw((b"HTTP/1.1 200 OK\r\n" if begins else b"") + text)
    with answering(say) as url, pytest.raises((ServerUnreachable, ExchangeRefused)):
        Client(url, identity=jwt("w"), clock=TestClock()).exchange("t")


def test_an_answer_is_bounded(own: str) -> None:
    sent = 0

    def say(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 1 << 28:
            sent += connection.send(b" " * (1 << 16))

    with answering(say) as url, pytest.raises(ExchangeRefused, match="no credential"):
        Client(url, identity=own).exchange("t")
    assert sent < 1 << 25


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_ends_by_the_deadline(own: str, begins: bytes) -> None:
    """Each byte comes well before any timeout of one read."""
    gone = threading.Event()

    def say(connection: socket.socket) -> None:
        try:
            connection.sendall(begins)
            while not gone.wait(0.02):
                connection.sendall(b"a")
        finally:
            gone.set()

    with answering(say) as url, pytest.raises(ServerUnreachable, match="too long"):
        Client(url, identity=own, timeout=0.3).exchange("t")
    assert gone.wait(30)


def test_nobody_listens(own: str) -> None:
    with pytest.raises(ServerUnreachable, match="Connection refused"):
        Client("http://127.0.0.1:1", identity=own, clock=TestClock()).exchange("t")


def test_a_name_that_is_none(own: str) -> None:
    with pytest.raises(ServerUnreachable, match=r"no answer from https://nowhere\.invalid"):
        Client("https://nowhere.invalid", identity=own, clock=TestClock()).exchange("t")


def test_to_this_machine_there_is_no_proxy(cambio: FakeCambio, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    Client(cambio.url, identity=own).exchange("t")
    assert cambio.exchanges == 1


@contextmanager
def proxy(to: str) -> Generator[tuple[str, list[bytes]]]:
    """A proxy that connects whatever it is asked for to one place, and keeps what it was asked."""
    asked: list[bytes] = []
    host, _, port = to.rpartition("/")[2].partition(":")

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            return

    def say(connection: socket.socket) -> None:
        asked.append(connection.recv(1 << 16))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection((host, int(port))) as there:
            back = threading.Thread(target=pump, args=(there, connection), daemon=True)
            back.start()
            pump(connection, there)

    with answering(say) as url:
        yield url, asked


@pytest.mark.parametrize(("user", "header"), [("", b""), ("me:p%40ss@", b"Proxy-Authorization: Basic bWU6cEBzcw==")])
def test_a_proxy_sees_no_token(
    own: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str, header: bytes
) -> None:
    ca_file = pem(authority, tmp_path / "ca.pem")
    with serving(FakeCambio(), tls(authority, "cambio.example")) as cambio, proxy(cambio.url) as (url, asked):
        monkeypatch.setenv("HTTPS_PROXY", url.replace("://", "://" + user))
        Client("https://cambio.example", identity=own, ca_file=ca_file).exchange("t")
        assert cambio.exchanges == 1
        assert len(asked) == 1
        assert asked[0].startswith(b"CONNECT cambio.example:443 HTTP/1.")
        assert header in asked[0]
        assert own.encode() not in asked[0]
        monkeypatch.setenv("NO_PROXY", "cambio.example")
        with pytest.raises(ServerUnreachable):
            Client("https://cambio.example", identity=own, ca_file=ca_file, clock=TestClock()).exchange("t")
        assert len(asked) == 1


def test_a_proxy_of_another_kind_is_refused(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ServerUnreachable, match="HTTPS_PROXY"):
        Client("https://cambio.example", identity=own, clock=TestClock()).exchange("t")


def test_the_deadline_is_the_transports_own() -> None:
    with answering(lambda connection: None) as url, pytest.raises(ServerUnreachable, match="too long"):
        HttpTransport().send("GET", url, {}, None, 0.05)
    with pytest.raises(Misconfigured):
        HttpTransport("/nonexistent/ca.pem")
