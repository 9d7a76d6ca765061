"""An MCP server made with the official Python SDK. It takes Cambio's access tokens and
verifies them by nothing but the issuer's published keys.

    server.py streamable|sse RESOURCE ISSUER
"""

import json
import sys
from urllib.parse import urlsplit

import anyio
import jwt
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

READ, CALL = "tools.read", "tools.call"


class Verifier:
    """Verifies RFC 9068 access tokens of one issuer for one resource."""

    def __init__(self, issuer: str, resource: str):
        self.issuer, self.resource = issuer, resource
        self.keys = jwt.PyJWKClient(issuer + "/oauth2/jwks")

    def claims(self, token: str) -> dict | None:
        try:
            if jwt.get_unverified_header(token).get("typ") != "at+jwt":
                return None
            return jwt.decode(
                token,
                self.keys.get_signing_key_from_jwt(token).key,
                algorithms=["ES256", "RS256", "EdDSA"],
                issuer=self.issuer,
                audience=self.resource,
                options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
            )
        except jwt.PyJWTError:
            return None

    async def verify_token(self, token: str) -> AccessToken | None:
        claims = await anyio.to_thread.run_sync(self.claims, token)
        if claims is None:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"],
            resource=claims["aud"],
            subject=claims["sub"],
            claims=claims,
        )


class ScopeForCalls:
    """Asks for more than READ where a tool is called, and names all that it takes."""

    def __init__(self, app, verifier: Verifier, metadata: str):
        self.app, self.verifier, self.metadata = app, verifier, metadata

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        bearer = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        token = await self.verifier.verify_token(bearer)
        if token and CALL not in token.scopes and b'"tools/call"' in body:
            challenge = f'Bearer error="insufficient_scope", scope="{READ} {CALL}", resource_metadata="{self.metadata}"'
            await send({"type": "http.response.start", "status": 403, "headers": [(b"www-authenticate", challenge.encode())]})
            return await send({"type": "http.response.body", "body": b""})
        replayed = False

        async def replay():
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


def main(transport: str, resource: str, issuer: str) -> None:
    verifier = Verifier(issuer, resource)
    server = MCPServer(
        "cambio-test",
        token_verifier=verifier,
        log_level="WARNING",
        auth=AuthSettings(
            issuer_url=issuer, resource_server_url=resource, required_scopes=[READ], validate_token_resource=True
        ),
    )

    @server.tool()
    def whoami() -> str:
        """Whom the server takes the caller for."""
        claims = get_access_token().claims
        return json.dumps({name: claims.get(name) for name in ("iss", "sub", "client_id", "scope", "act", "aud")})

    at = urlsplit(resource)
    if transport == "sse":
        app = server.sse_app(sse_path=at.path)
    else:
        app = server.streamable_http_app(streamable_http_path=at.path)
    metadata = f"{at.scheme}://{at.netloc}/.well-known/oauth-protected-resource{at.path}"
    uvicorn.run(
        ScopeForCalls(app, verifier, metadata), host=at.hostname, port=at.port, log_level="warning", access_log=False
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
