"""A real OpenBao, in memory and unsealed, on a free port of loopback."""

from __future__ import annotations

import json
import os
import secrets
import socket
import urllib.request
from pathlib import Path
from typing import Any

from house import plain_environment
from programs import Program


def binary() -> Path:
    """What `make openbao` installs, or what CAMBIO_BAO names."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(os.environ.get("CAMBIO_BAO") or cache / "cambio/openbao-2.7.2/bao")
    assert path.exists(), "there is no OpenBao: make openbao"
    return path


class Bao:
    """A running server."""

    def __init__(self, work: Path) -> None:
        self.token = "root-" + secrets.token_hex(16)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            at = f"127.0.0.1:{s.getsockname()[1]}"
        self.url = f"http://{at}"
        environment = plain_environment() | {"BAO_DEV_ROOT_TOKEN_ID": self.token, "HOME": str(work)}
        command = [str(binary()), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address={at}"]
        self.program = Program("bao", work / "bao.txt", command, environment, work)  # its log has its root token, so it is none of logs
        self.program.until("is ready", self._answers, 60)

    def _answers(self) -> bool:
        try:
            return self.call("GET", "sys/health")["initialized"]
        except OSError:
            return False

    def call(self, method: str, path: str, **body: object) -> dict[str, Any]:
        """A call of its API, as root."""
        asked = urllib.request.Request(
            f"{self.url}/v1/{path}",
            json.dumps(body).encode() if body else None,
            {"X-Vault-Token": self.token, "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=20) as answer:
            return json.loads(answer.read() or b"{}")
