"""A wire between the agent and an upstream that remembers what went over it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Generator
from urllib.parse import urlsplit

from authority import Authority


class Tap:
    """Speaks TLS to who connects, and what the upstream speaks to that; passes bytes on as they come, both ways.

    It listens at 127.0.0.2 on the upstream's own port: dev's stand-ins answer to loopback names with their port only,
    and a signature covers the name."""

    def __init__(self, upstream: str, authority: Authority, upstream_ca: str = "") -> None:
        at = urlsplit(upstream)
        self._host, self._port = at.hostname or "", at.port or 0
        self._client = ssl.create_default_context(cafile=upstream_ca) if at.scheme == "https" else None
        self._server = authority.server()
        self._asked: list[bytearray] = []
        self._lock = threading.Lock()
        self.url = f"https://127.0.0.2:{self._port}"
        """Where it listens: https, certified by the authority."""

    def connections(self) -> list[bytes]:
        """What each connection was sent so far by who made it, in the clear."""
        with self._lock:
            return [bytes(asked) for asked in self._asked if asked]

    def heads(self) -> list[list[str]]:
        """The lines of each request's head that begins a connection or follows on one; bodies are of a known length."""
        found: list[list[str]] = []
        for asked in self.connections():
            while asked:
                head, _, asked = asked.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                found.append(lines)
                lengths = [int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")]
                asked = asked[sum(lengths) :]
        return found

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = bytearray()
        with self._lock:
            self._asked.append(asked)

        async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter, keep: bool) -> None:
            with contextlib.suppress(OSError, ssl.SSLError):
                while data := await source.read(1 << 16):
                    if keep:
                        with self._lock:
                            asked.extend(data)
                    to.write(data)
                    await to.drain()
            to.close()

        up_reader, up_writer = await asyncio.open_connection(self._host, self._port, ssl=self._client)
        await asyncio.gather(pump(reader, up_writer, True), pump(up_reader, writer, False))

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Says when it listens, and goes on until it is told to stop."""
        server = await asyncio.start_server(self._pass, "127.0.0.2", self._port, ssl=self._server)
        ready.set()
        await stop.wait()
        server.close()


def silent(_loop: asyncio.AbstractEventLoop, _context: dict[str, object]) -> None:
    """Connections are cut at the end."""


@contextlib.contextmanager
def tapped(upstream: str, authority: Authority, upstream_ca: str = "") -> Generator[Tap]:
    """A Tap that works in a thread of its own until the end."""
    tap, ready, loop = Tap(upstream, authority, upstream_ca), threading.Event(), asyncio.new_event_loop()
    loop.set_exception_handler(silent)
    stop = asyncio.Event()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(tap.serve(ready, stop))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(10)
        yield tap
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
