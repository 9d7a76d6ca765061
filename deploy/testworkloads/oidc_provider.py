"""An OpenID provider on loopback, for client credentials: discovery, keys, and the token endpoint."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote_plus

import jwt
from authority import Authority
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

LIFE = 600
"""Seconds that its tokens live."""


class Provider:
    """Gives RS256 access tokens (RFC 9068), whose `sub` is the client, for the audience that the client names."""

    def __init__(self, clients: Mapping[str, str]) -> None:
        self.clients = clients
        """The secrets of its clients, by id."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = secrets.token_hex(4)
        self.issuer = ""
        self.issued = 0
        """How many tokens the token endpoint gave."""
        self._lock = threading.Lock()

    def jwks(self) -> dict[str, object]:
        """The public half, as a JWK Set."""
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "RS256"}]}

    def claims(self, client: str, audience: str) -> dict[str, object]:
        """What a token says."""
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": client,
            "client_id": client,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + LIFE,
            "jti": secrets.token_hex(8),
        }

    def sign(self, claims: dict[str, object]) -> str:
        """A token that says so."""
        return jwt.encode(claims, self.key, "RS256", {"kid": self.kid, "typ": "at+jwt"})

    def token(self, authorization: str, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        """What the token endpoint answers (RFC 6749 section 4.4)."""
        client, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, rest = authorization.partition(" ")
        if scheme == "Basic":
            client, _, secret = (unquote_plus(part) for part in base64.b64decode(rest).decode().partition(":"))
        known = self.clients.get(client, "")
        if not known or not hmac.compare_digest(known, secret):
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != "client_credentials" or not form.get("audience"):
            return 400, {"error": "invalid_request"}
        with self._lock:
            self.issued += 1
        return 200, {"access_token": self.sign(self.claims(client, form["audience"])), "token_type": "Bearer", "expires_in": LIFE}


@contextlib.contextmanager
def provider(clients: Mapping[str, str], authority: Authority) -> Generator[Provider]:
    """A Provider that answers at its issuer until the end."""
    made = Provider(clients)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/.well-known/openid-configuration":
                self.answer(200, {"issuer": made.issuer, "jwks_uri": made.issuer + "/keys", "token_endpoint": made.issuer + "/token"})
            elif self.path == "/keys":
                self.answer(200, made.jwks())
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            self.answer(*(made.token(self.headers.get("Authorization", ""), form) if self.path == "/token" else (404, {})))

        def answer(self, status: int, document: dict[str, object]) -> None:
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = authority.server().wrap_socket(server.socket, server_side=True)
        made.issuer = f"https://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
