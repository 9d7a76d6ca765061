"""A client of the official Python SDK over one transport, with the bearer token that it
was given last, or with a provider of the SDK's own."""

import contextlib
import json

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client


class Bearer(httpx2.Auth):
    """Sends whatever token is held at that moment, and nothing else."""

    token = ""

    def auth_flow(self, request):
        request.headers["Authorization"] = "Bearer " + self.token
        yield request


class Seen:
    """What the last refusal looked like on the wire."""

    status, challenge = 0, ""

    async def note(self, response: httpx2.Response) -> None:
        if response.status_code in (401, 403):
            self.status, self.challenge = response.status_code, response.headers.get("www-authenticate", "")


@contextlib.asynccontextmanager
async def connect(transport: str, url: str, auth: httpx2.Auth, seen: Seen):
    """An open session. Over SSE a refused call is an answer that never comes."""
    timeout = httpx2.Timeout(30, read=300)
    if transport == "sse":

        def factory(headers=None, timeout=timeout, auth=None):
            return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, event_hooks={"response": [seen.note]})

        async with Client(sse_client(url, auth=auth, httpx_client_factory=factory), read_timeout_seconds=10) as client:
            yield client
        return
    async with httpx2.AsyncClient(auth=auth, timeout=timeout, event_hooks={"response": [seen.note]}) as http:
        async with Client(streamable_http_client(url, http_client=http), read_timeout_seconds=20) as client:
            yield client


async def tools(client: Client) -> list[str]:
    """The names of the tools."""
    return [tool.name for tool in (await client.list_tools()).tools]


async def whoami(client: Client) -> dict:
    """What the server said it takes us for."""
    result = await client.call_tool("whoami", {})
    if result.is_error:
        raise RuntimeError("the tool failed: " + result.content[0].text)
    return json.loads(result.content[0].text)
