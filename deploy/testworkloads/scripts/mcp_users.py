"""Two users' MCP clients through the agent's proxy, at the same time, as JSON: what each sees.

    mcp_users.py streamable|sse URL USERS

USERS is a JSON file, {user: header Cookie}; the secret of the agent's start is in the variable AGENT_SECRET.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

import anyio
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

transport, url, file = sys.argv[1:]
users = json.loads(Path(file).read_text())
SMUGGLED = {
    "X-Original-Url": "/admin",
    "X-Http-Method-Override": "DELETE",
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Host": "elsewhere.example",
    "Forwarded": "for=10.0.0.1",
    "X-Api-Key": "workload-decoy",
    "Cookie2": "$Version=1",
    "X_Auth_Token": "workload-decoy",
}


@contextlib.asynccontextmanager
async def connected(user, returned):
    async def note(response):
        returned.extend(name for name in ("set-cookie", "alt-svc", "location") if name in response.headers)

    headers = {"Authorization": "Bearer " + os.environ["AGENT_SECRET"], "Cookie": users[user], **SMUGGLED}
    timeout, hooks = httpx2.Timeout(20, read=60), {"response": [note]}

    def factory(headers=None, timeout=timeout, auth=None):
        return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, event_hooks=hooks)

    if transport == "sse":
        async with Client(sse_client(url, headers=headers, httpx_client_factory=factory), read_timeout_seconds=20) as client:
            yield client
    else:
        async with (
            factory(headers) as http,
            Client(streamable_http_client(url, http_client=http), read_timeout_seconds=20) as client,
        ):
            yield client


async def text(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise RuntimeError(result.content[0].text)
    return json.loads(result.content[0].text)


async def use(user, seen):
    returned = []
    async with connected(user, returned) as client:
        tools = sorted(tool.name for tool in (await client.list_tools()).tools)
        told = []
        for n in range(5):
            kept = await text(client, "remember", note=f"{user} {transport} {n}")
            told.append(await text(client, "whoami"))
    seen[user] = {"tools": tools, "told": told, "notes": kept, "returned": returned}


async def main():
    seen = {}
    async with anyio.create_task_group() as group:
        for user in users:
            group.start_soon(use, user, seen)
    print(json.dumps(seen))


anyio.run(main)
