from __future__ import annotations

import asyncio
import importlib
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from house import Cambio
from mcp.client import Client as TypedClient
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

from cambio_client import http_auth
from cambio_client import mcp_http_client as typed_http_client

httpx2: Any = importlib.import_module("httpx2")  # whose types want a later Python
mcp_http_client = cast(Any, typed_http_client)
McpClient = cast(Any, TypedClient)


class _Verifier:
    """Takes what Cambio issued, and is not revoked."""

    def __init__(self, cambio: Cambio, url: str) -> None:
        self._cambio, self._url = cambio, url
        self.revoked: set[str] = set()
        self.refused = 0

    async def verify_token(self, token: str) -> AccessToken | None:
        if token not in self._cambio.issues or token in self.revoked:
            self.refused += 1
            return None
        return AccessToken(
            token=token, client_id="client", scopes=["tools.read"], subject="workload", resource=self._url
        )


class _Served:
    def __init__(self, url: str, verifier: _Verifier) -> None:
        self.url, self.verifier = url, verifier


@pytest.fixture(params=["streamable", "sse"])
def served(request: pytest.FixtureRequest, cambio: Cambio) -> Iterator[tuple[str, _Served]]:
    """The SDK's own server, which wants a bearer token, by one of its transports."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    verifier = _Verifier(cambio, url)
    settings: Any = AuthSettings
    server: Any = MCPServer(
        "judge",
        token_verifier=verifier,
        auth=settings(
            issuer_url=cambio.url,
            resource_server_url=url,
            required_scopes=["tools.read"],
            validate_token_resource=True,
        ),
    )

    def shout(text: str) -> str:
        return text.upper()

    server.tool()(shout)
    app = server.streamable_http_app() if request.param == "streamable" else server.sse_app()
    web = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield request.param, _Served(url + ("/mcp" if request.param == "streamable" else "/sse"), verifier)
    finally:
        web.should_exit = True
        thread.join()
        listener.close()


@asynccontextmanager
async def _connected(transport: str, url: str, source: Any) -> AsyncGenerator[Any]:
    if transport == "streamable":
        async with mcp_http_client(source) as http, McpClient(streamable_http_client(url, http_client=http)) as client:
            yield client
    else:
        async with McpClient(sse_client(url, auth=http_auth(source))) as client:
            yield client


def test_tools_are_called_with_the_token(cambio: Cambio, served: tuple[str, _Served]) -> None:
    transport, server = served

    async def main() -> str:
        async with _connected(transport, server.url, cambio.source()) as client:
            answer = await client.call_tool("shout", {"text": "who am i?"})
            return answer.content[0].text

    assert asyncio.run(main()) == "WHO AM I?"
    assert (len(cambio.issues), server.verifier.refused) == (1, 0), "the first request has the token already"


def test_a_token_that_is_refused_midway_is_renewed(cambio: Cambio, served: tuple[str, _Served]) -> None:
    transport, server = served

    async def main() -> list[str]:
        async with _connected(transport, server.url, cambio.source()) as client:
            await client.call_tool("shout", {"text": "a"})
            server.verifier.revoked.update(cambio.issues)
            answers = await asyncio.gather(*(client.call_tool("shout", {"text": str(i)}) for i in range(10)))
            return [answer.content[0].text for answer in answers]

    assert asyncio.run(main()) == [str(i) for i in range(10)]
    assert len(cambio.issues) == 2


def test_a_workload_without_a_token_of_cambios_is_refused(cambio: Cambio, served: tuple[str, _Served]) -> None:
    transport, server = served

    async def main() -> None:
        async with _connected(transport, server.url, lambda: cambio.subject) as client:
            await client.list_tools()

    with pytest.raises(Exception, match=r"TaskGroup|401"):
        asyncio.run(main())
    assert server.verifier.refused > 0


def test_timeouts_are_those_of_the_sdk(cambio: Cambio) -> None:
    async def main() -> list[Any]:
        async with mcp_http_client(cambio.source()) as http, mcp_http_client(cambio.source(), timeout=5) as other:
            return [http.timeout, other.timeout]

    assert asyncio.run(main()) == [httpx2.Timeout(30, read=300), httpx2.Timeout(5)]
