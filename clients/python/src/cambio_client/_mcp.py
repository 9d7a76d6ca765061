"""HTTP for the MCP SDK's transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._extras import missing
from ._http_auth import http_auth

if TYPE_CHECKING:
    import httpx2

    from ._identity import IdentityLike
    from ._source import TokenSource


def mcp_http_client(source: TokenSource | IdentityLike, **options: Any) -> httpx2.AsyncClient:
    """An httpx2.AsyncClient for streamable_http_client, with the token of an mcp target on each request.

    options: those of httpx2.AsyncClient. Its timeouts are the MCP SDK's own: 30 seconds, and 300 for a read, since a
    server may keep an answer open. sse_client makes its client itself: give it `auth=http_auth(source)`.

        import asyncio
        from cambio_client import Client, mcp_http_client
        from mcp.client import Client as McpClient
        from mcp.client.streamable_http import streamable_http_client

        async def main() -> None:
            async with mcp_http_client(Client().token_source("github-mcp")) as http:
                async with McpClient(streamable_http_client("https://mcp.example/github", http_client=http)) as client:
                    print(await client.list_tools())

        asyncio.run(main())
    """
    try:
        import httpx2
    except ImportError as err:
        raise missing("mcp") from err
    options.setdefault("timeout", httpx2.Timeout(30.0, read=300.0))
    return httpx2.AsyncClient(auth=http_auth(source), **options)
