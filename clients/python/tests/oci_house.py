"""A Cambio that issues for OCI, and an OCI that verifies from the specification."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from house import Answer, ManualClock, Request, Server, jwt

from cambio_client import Client

SESSION = "urn:cambio:token-type:oci-signing-session"
HOST = "inference.generativeai.us-ashburn-1.oci.oraclecloud.com"
CHAT = f"https://{HOST}/20231130/actions/chat"
KEY = generate_private_key(65537, 2048)  # one for all tests: it takes a while


@dataclass
class Plain:
    """A request as litellm has it: its headers are a dict, and path_url is made of the URL."""

    method: str = "POST"
    url: str = CHAT
    headers: dict[str, Any] = field(default_factory=dict[str, Any])
    body: Any = b'{"a": 1}'


class OciCambio(Server):
    """Takes one subject token. Tokens and sessions live `life` seconds of its own time, which `passes`."""

    def __init__(self) -> None:
        self.subject = jwt(sub="workload")
        self.life, self.passed = 3600, 0.0
        self.prolongs = False
        self.down = False
        self.keys: dict[str, RSAPublicKey] = {}  # by session token
        self.ends: dict[str, float] = {}  # by session token; of sessions by their id
        self.sessions: dict[str, tuple[str, str]] = {}  # id: the session's own token, and the one that is signed with
        self.exchanges: list[dict[str, str]] = []
        self.signed: list[dict[str, Any]] = []
        self.region = "us-ashburn-1"
        self.bend: dict[str, Any] = {}  # members of answers that come out otherwise
        super().__init__()

    def now(self) -> float:
        return time.time() + self.passed

    def client(self, clock: ManualClock | None = None) -> Client:
        return Client(self.url, identity=lambda: self.subject, clock=clock)

    def answer(self, request: Request) -> Answer:
        if self.down:
            return _refused(500, "server_error", "it is down")
        if request.path == "/oauth2/token":
            return self._exchange({k: v[0] for k, v in parse_qs(request.body.decode()).items()})
        named = re.fullmatch(r"/v1/sessions/([^/:]+):sign", request.path)
        if named is None or request.method != "POST" or request.headers.get("content-type") != "application/json":
            return _refused(404, "invalid_request", "there is nothing here")
        return self._sign(named[1], request.bearer, json.loads(request.body))

    def _exchange(self, form: dict[str, str]) -> Answer:
        fit = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": self.subject,
            "audience": "oci-genai",
        }
        session = form.get("requested_token_type") == SESSION
        if {k: form.get(k) for k in fit} != fit or session == ("public_key" in form):
            return _refused(400, "invalid_request", "not what was expected")
        self.exchanges.append(form)
        token = "vended-secret-" + secrets.token_hex(8)
        value = {"region": self.region, "tenancy": "ocid1.tenancy.oc1..x", "expires_at": "2026-01-01T00:00:00Z"}
        if session:
            key, name = KEY.public_key(), f"session-{len(self.exchanges)}"
            proof = "vended-secret-" + secrets.token_hex(8)
            self.sessions[name], self.ends[name] = (proof, token), self.now() + self.life
            value |= {"session": name, "token": proof}
        else:
            found = load_der_public_key(base64.b64decode(form["public_key"], validate=True))
            assert isinstance(found, RSAPublicKey)
            key = found
            value |= {"token": token, "key_id": "ST$" + token}
        self.keys[token], self.ends[token] = key, self.now() + self.life
        answer = {
            "access_token": json.dumps(value),
            "token_type": "N_A",
            "issued_token_type": "x",
            "expires_in": self.life,
        }
        return Answer(200, json.dumps(answer | {"exchange_id": f"exchange-{len(self.exchanges)}"} | self.bend).encode())

    def _sign(self, name: str, bearer: str, asked: dict[str, Any]) -> Answer:
        proof, token = self.sessions.get(name, ("", ""))
        if not proof or asked.pop("token") != proof or bearer != self.subject or self.ends[name] <= self.now():
            return _refused(404, "invalid_request", "there is no such session")
        self.signed.append(asked)
        lines = {
            "date": formatdate(self.now(), usegmt=True),
            "(request-target)": f"{asked['method'].lower()} {asked['path']}"
            + ("?" + asked["query"] if asked["query"] else ""),
            "host": asked["host"],
        }
        if asked["method"] in ("POST", "PUT", "PATCH"):
            lines["content-length"] = str(asked["body_length"])
            lines |= asked["headers"] | {"x-content-sha256": asked["body_sha256"]}
        text = "\n".join(f"{k}: {v}" for k, v in lines.items()).encode()
        signature = base64.b64encode(KEY.sign(text, PKCS1v15(), SHA256())).decode()
        lines["authorization"] = (
            f'Signature version="1",headers="{" ".join(lines)}",keyId="ST${token}",algorithm="rsa-sha256"'
            f',signature="{signature}"'
        )
        del lines["(request-target)"]
        if self.prolongs and self.ends[name] - self.now() < self.life / 5:
            self.ends[name] = self.ends[token] = self.now() + self.life
        ends = self.ends[name]
        answer: dict[str, Any] = {
            "headers": lines,
            "expire_time": _rfc3339(ends),
            "renew_time": _rfc3339(ends - self.life / 10),
        }
        return Answer(200, json.dumps(answer | self.bend).encode())

    def verify(self, request: Any, with_content: bool = True) -> str:
        """The session token that a request is signed with, which is refused as OCI does."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert len(headers) == len(request.headers), "a header stands there twice"
        return self.verified(request.method, request.url, headers, request.body, with_content)

    def verified(self, method: str, url: str, headers: Mapping[str, str], body: Any, with_content: bool = True) -> str:
        kind, _, rest = headers["authorization"].partition(" ")
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        assert (kind, parameters["version"], parameters["algorithm"]) == ("Signature", "1", "rsa-sha256")
        scheme, _, after = url.partition("://")
        authority, slash, path = after.partition("/")
        assert scheme in ("http", "https")
        names = parameters["headers"].split(" ")
        needed = {"date", "(request-target)", "host"}
        if with_content and method in ("POST", "PUT", "PATCH"):
            needed |= {"content-length", "content-type", "x-content-sha256"}
            raw = b"" if body is None else body.encode() if isinstance(body, str) else body
            assert headers["content-length"] == str(len(raw))
            assert headers["x-content-sha256"] == base64.b64encode(hashlib.sha256(raw).digest()).decode()
        assert set(names) == needed
        assert len(names) == len(needed)
        assert headers["host"] == authority.rpartition("@")[2].lower()
        assert abs(parsedate_to_datetime(headers["date"]).timestamp() - self.now()) < 300, "the date is too far away"
        special = {"(request-target)": f"{method.lower()} {slash or '/'}{path.partition('#')[0]}"}
        text = "\n".join(f"{name}: {special.get(name) or headers[name]}" for name in names)
        token = parameters["keyId"].removeprefix("ST$")
        assert parameters["keyId"] == "ST$" + token
        self.keys[token].verify(base64.b64decode(parameters["signature"]), text.encode(), PKCS1v15(), SHA256())
        assert self.ends[token] > self.now(), "the session token is dead"
        return token


def _refused(status: int, code: str, description: str) -> Answer:
    return Answer(status, json.dumps({"error": code, "error_description": description}).encode())


def _rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".123456789Z"
