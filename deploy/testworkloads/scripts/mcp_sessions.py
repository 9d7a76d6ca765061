"""An MCP server made with the official SDK, over streamable HTTP at /mcp and SSE at /sse. It wants an access token of
Cambio's for its resource, and the cookie `sid` of somebody who is logged in.

    mcp_sessions.py RESOURCE ISSUER SESSIONS ASKED

SESSIONS is a JSON file, {sid: user}. Into ASKED it writes a line for each request that it takes for one.
"""

import json
import sys
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.routing import Mount

sys.path.append(str(Path(__file__).resolve().parents[2] / "testmcp" / "pysdk"))
from server import Verifier  # noqa: E402

resource, issuer, file, asked = sys.argv[1:]
sessions = json.loads(Path(file).read_text())
at = urlsplit(resource)
auth = AuthSettings(issuer_url=issuer, resource_server_url=resource, required_scopes=["tools.call"], validate_token_resource=True)
server = MCPServer("sessions", token_verifier=Verifier(issuer, resource), log_level="WARNING", auth=auth)
notes = {}


def cookies(headers):
    return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}


@server.tool()
def whoami(ctx: Context) -> str:
    """What the server knows of the caller, and all that it was sent."""
    found = cookies(ctx.headers)
    return json.dumps(
        {"user": sessions[found["sid"]], "cookies": found, "headers": sorted(ctx.headers), "sub": get_access_token().claims["sub"]}
    )


@server.tool()
def remember(note: str, ctx: Context) -> str:
    """Adds a note to the user's session, and gives them all."""
    kept = notes.setdefault(cookies(ctx.headers)["sid"], [])
    kept.append(note)
    return json.dumps(kept)


class Sessions:
    """Lets in who is logged in, and renews the session with each answer."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        with open(asked, "a") as log:
            log.write(f"{scope['method']} {scope['path']}\n")

        async def answer(status, *headers):
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *headers]})
            await send({"type": "http.response.body", "body": b""})

        async def renewing(message):
            if message["type"] == "http.response.start":
                more = [(b"set-cookie", b"sid=renewed; Path=/; HttpOnly"), (b"set-cookie", b"tracking=1"), (b"alt-svc", b'h3=":443"')]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
        if scope["path"] == at.path + "/away":
            return await answer(307, (b"location", b"https://elsewhere.example/mcp"), (b"set-cookie", b"sid=away"))
        if scope["path"] == at.path + "/here":
            return await answer(307, (b"location", resource.replace("127.0.0.1", "127.0.0.2").replace("http:", "https:").encode()))
        if len(lines) != 1 or cookies({"cookie": lines[0]}).get("sid") not in sessions:
            return await answer(403)
        await self.app(scope, receive, renewing)


hosts = TransportSecuritySettings(allowed_hosts=[at.netloc, at.netloc.replace("127.0.0.1", "127.0.0.2")])
app = server.streamable_http_app(streamable_http_path=at.path, transport_security=hosts)
app.router.routes.append(Mount("/", app=server.sse_app(transport_security=hosts)))
uvicorn.run(Sessions(app), host=at.hostname, port=at.port, log_level="warning", access_log=False)
