"""A way to Cambio that can be cut: what the agent sees of a server that is down, while the clouds go on."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Way:
    """Passes bytes on, both ways, between another address of loopback and a server, which knows itself by its port; there is
    no way at first."""

    def __init__(self, server: str) -> None:
        at = urlsplit(server)
        self._server = (at.hostname or "", at.port or 0)
        self._own = ("127.0.0.4", self._server[1])
        self.url = f"http://127.0.0.4:{self._server[1]}"
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def open(self) -> None:
        """The server is there from now on."""
        self._listener = socket.create_server(self._own)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Nobody listens there any more, and what was under way breaks off."""
        if self._listener:
            for s in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
                s.close()
        self._listener, self._open = None, []

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._server)
                self._open += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(a, b), daemon=True).start()


def _pump(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            to.sendall(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)
