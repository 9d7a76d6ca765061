"""The tools of an MCP server through the agent's proxy: with the bearer token of the service, which Cambio issues for
that server, and the cookies of each user that are on the list."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from authority import Authority
from house import Agent, Dev, plain_environment, write_secret
from programs import Program
from tap import Tap, tapped

SCRIPTS = Path(__file__).resolve().parent / "scripts"
POLICY = """
targets:
  sessions-mcp: {{mcp: {{resource: "{resource}", scopes: [tools.call]}}}}
allow:
  - {{name: gateway-uses-sessions, subjects: [{{trust: cluster, namespace: llm, service_account: gateway}}], targets: [sessions-mcp]}}
"""


class House(NamedTuple):
    url: str  # of the agent's proxy
    secret: str
    tap: Tap
    asked: Path  # what the server takes for requests, a line each
    users: Path  # the users' Cookie headers
    sids: dict[str, str]
    server: str  # host:port of the server itself
    exchanged: int  # before the agent was there

    def requests(self) -> list[str]:
        return self.asked.read_text().splitlines()


def free_port() -> int:
    """One that is free on both loopback addresses."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        two.bind(("127.0.0.2", port))
        return port


@pytest.fixture(scope="module")
def house(
    dev: Dev,
    keep_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    python: Callable[[str], str],
    authority: Authority,
    work: Path,
    logs: Path,
) -> Iterator[House]:
    sids = {user: f"{secrets.token_hex(16)}" for user in ("ada", "bob")}
    users, sessions, asked, secret = (work / f"mcp-{name}" for name in ("users.json", "sessions.json", "asked.txt", "secret"))
    cookies = {user: f"theme=dark; sid={sid}; __Host-team={user}s; csrftoken=off-list; SID=off-list" for user, sid in sids.items()}
    write_secret(users, json.dumps(cookies))
    write_secret(sessions, json.dumps({sid: user for user, sid in sids.items()}))
    asked.touch()
    port = free_port()
    resource = f"http://127.0.0.1:{port}/mcp"
    command = [python("newest"), str(SCRIPTS / "mcp_sessions.py"), resource, dev.url, str(sessions), str(asked)]
    server = Program("mcp-sessions", logs / "mcp-sessions.log", command, plain_environment(), work)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        server.until("listens", lambda: listens(port))
        tap = stack.enter_context(tapped(resource, authority))
        dev.policy("sessions-mcp", POLICY.format(resource=resource), "sessions-mcp")
        before = len(dev.exchanges("sessions-mcp"))
        common = {"provider": "mcp", "target": "sessions-mcp", "ca_file": str(authority.ca_file)}
        allowed = {"enabled": True, "cookie_names": ["sid", "__Host-team"], "origin": tap.url}
        routes = [
            {**common, "name": "tools", "upstream": tap.url + "/mcp", "paths": ["/", "/away", "/here"], "cookie_passthrough": allowed},
            # The server says where messages go, by a path of its own: in front of it is none.
            {**common, "name": "sse", "prefix": "/", "upstream": tap.url, "paths": ["/sse", "/messages/**"], "cookie_passthrough": allowed},
        ]
        proxy = {"listen": "127.0.0.1:0", "secret_file": str(secret), "routes": routes}
        agent = keep_agent(agent_config(targets={"sessions-mcp": {}}, proxy=proxy))
        yield House(
            "http://" + agent.ready["listeners"]["127.0.0.1:0"], secret.read_text(), tap, asked, users, sids, f"127.0.0.1:{port}", before
        )


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(
    scope="module", params=[("newest", "streamable"), ("newest", "sse"), ("oldest", "streamable"), ("oldest", "sse")], ids=" ".join
)
def seen(request: pytest.FixtureRequest, house: House, run_python: Callable[..., str]) -> dict[str, Any]:
    """What each user's client sees, by the SDK at that version over that transport."""
    sdk, transport = request.param
    url = house.url + ("/sse" if transport == "sse" else "/tools")
    environment = plain_environment() | {"AGENT_SECRET": house.secret}
    printed = run_python(sdk, SCRIPTS / "mcp_users.py", transport, url, str(house.users), environment=environment)
    return json.loads(printed.splitlines()[-1]) | {"transport": transport}


def told(seen: dict[str, Any], user: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = seen[user]["told"]
    assert len(found) == 5
    return found


@pytest.mark.parametrize("user", ["ada", "bob"])
def test_tools_see_the_service_and_the_users_listed_cookies(user: str, seen: dict[str, Any], house: House) -> None:
    assert seen[user]["tools"] == ["remember", "whoami"]
    for one in told(seen, user):
        assert one["user"] == user
        assert one["sub"] == "k8s:cluster:llm:gateway"
        assert one["cookies"] == {"sid": house.sids[user], "__Host-team": user + "s"}


@pytest.mark.parametrize("user", ["ada", "bob"])
def test_s36_headers_that_mean_something_else_stay(user: str, seen: dict[str, Any]) -> None:
    for one in told(seen, user):
        headers: list[str] = one["headers"]
        assert {"authorization", "cookie", "host"} <= set(headers)
        strange = ("x-original", "x-http-method", "x-forwarded", "forwarded", "x-api-key", "cookie2", "x_", "x-auth", "via")
        assert [name for name in headers if name.startswith(strange)] == []


@pytest.mark.parametrize("user", ["ada", "bob"])
def test_what_the_server_would_have_kept_does_not_come_back(user: str, seen: dict[str, Any]) -> None:
    assert seen[user]["returned"] == []


@pytest.mark.parametrize("user", ["ada", "bob"])
def test_users_sessions_stay_apart(user: str, seen: dict[str, Any]) -> None:
    notes: list[str] = seen[user]["notes"]
    assert notes[-5:] == [f"{user} {seen['transport']} {n}" for n in range(5)]
    assert [note for note in notes if not note.startswith(user)] == []


def test_s36_users_share_no_connection_and_nothing_else_goes_over_one(seen: dict[str, Any], house: House) -> None:
    connections = house.tap.connections()
    for user, sid in house.sids.items():
        assert [c for c in connections if sid.encode() in c], user
    for sent in connections:
        assert len([sid for sid in house.sids.values() if sid.encode() in sent]) <= 1
        for private in (house.secret, "off-list", "workload-decoy", "theme"):
            assert private.encode() not in sent


def test_all_of_them_take_one_token(seen: dict[str, Any], house: House, dev: Dev) -> None:
    assert set(seen) == {"ada", "bob", "transport"}
    assert len(dev.exchanges("sessions-mcp")) - house.exchanged == 1


def test_the_server_itself_does_set_cookies(house: House) -> None:
    connection = http.client.HTTPConnection(house.server, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/mcp", headers={"Cookie": f"sid={house.sids['ada']}"})
        answer = connection.getresponse()
        assert answer.status == 401  # it wants a token, too
        assert answer.headers.get_all("Set-Cookie") == ["sid=renewed; Path=/; HttpOnly", "tracking=1"]


def raw(house: House, text: str) -> tuple[int, dict[str, str], str]:
    """Sends bytes; status, headers and body of the one answer that comes before the connection is closed."""
    host, _, port = urlsplit(house.url).netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(text.encode("latin-1"))
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 16):
                answer += data
    head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    assert body.count("HTTP/1.1 ") == 0, "more than one answer"
    return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


def request(house: House, first: str = "POST /tools HTTP/1.1", *, host: str | None = None, more: str = "", body: str = "{}") -> str:
    """One request of ada's, which closes the connection."""
    named = urlsplit(house.url).netloc if host is None else host
    cookie = "" if "Cookie" in more else f"Cookie: sid={house.sids['ada']}\r\n"
    length = "" if "Content-Length" in more or "Transfer-Encoding" in more else f"Content-Length: {len(body)}\r\n"
    common = f"Authorization: Bearer {house.secret}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{first}\r\nHost: {named}\r\n{common}{cookie}{length}{more}\r\n{body}"


EVIL = "GET /mcp/evil HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
REFUSED: dict[str, tuple[dict[str, str], int, str]] = {
    "another host": ({"host": "elsewhere.example"}, 421, "foreign_host"),
    "another port": ({"host": "127.0.0.1:1"}, 421, "foreign_host"),
    "no host": ({"host": ""}, 421, "foreign_host"),
    "an absolute form": ({"first": "POST http://elsewhere.example/mcp HTTP/1.1"}, 400, "no_forward_proxy"),
    "an absolute form of the metadata service": ({"first": "GET http://169.254.169.254/latest/ HTTP/1.1"}, 400, "no_forward_proxy"),
    "a tunnel": ({"first": "CONNECT elsewhere.example:443 HTTP/1.1"}, 400, "no_forward_proxy"),
    "another origin": ({"more": "Origin: https://elsewhere.example\r\n"}, 403, "browser"),
    "a path off the list": ({"first": "POST /tools/admin HTTP/1.1"}, 403, "path_not_listed"),
    "a path above": ({"first": "POST /tools/../admin HTTP/1.1"}, 400, "bad_path"),
    "a path above, encoded": ({"first": "POST /tools/%2e%2e/admin HTTP/1.1"}, 400, "bad_path"),
    "an encoded slash": ({"first": "POST /tools%2faway HTTP/1.1"}, 400, "bad_path"),
    "a method off the list": ({"first": "PUT /tools HTTP/1.1"}, 405, "method_not_listed"),
    "an upgrade": ({"more": "Upgrade: websocket\r\n"}, 501, "no_upgrade"),
    "the cookie twice": ({"more": "Cookie: sid=a; sid=b\r\n"}, 400, "bad_cookie"),
    "the cookie in two lines": ({"more": "Cookie: sid=a\r\nCookie: sid=b\r\n"}, 400, "bad_cookie"),
    "a cookie of two values": ({"more": "Cookie: sid=a,b\r\n"}, 400, "bad_cookie"),
    "a cookie that is too long": ({"more": f"Cookie: sid={'a' * 5000}\r\n"}, 400, "bad_cookie"),
    "a bare CR": ({"more": "Cookie: sid=a\rX-Evil: 1\r\n"}, 400, ""),
    "a NUL": ({"more": "Cookie: sid=a\0b\r\n"}, 400, ""),
    "a blank before the colon": ({"more": "Cookie : sid=a\r\n"}, 400, ""),
    "two hosts": ({"more": "Host: elsewhere.example\r\n"}, 400, ""),
    "two lengths": ({"more": "Content-Length: 2\r\nContent-Length: 60\r\n", "body": EVIL}, 400, ""),
    "a length that is none": ({"more": "Content-Length: +2\r\n"}, 400, ""),
    "an unknown encoding": ({"more": "Transfer-Encoding: xchunked\r\n", "body": "0\r\n\r\n"}, 501, ""),
    "two encodings": ({"more": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "body": "0\r\n\r\n"}, 501, ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_s36_a_request_that_could_mean_another_is_refused(name: str, house: House) -> None:
    how, status, code = REFUSED[name]
    before = house.requests()
    got, headers, body = raw(house, request(house, **how))
    assert (got, "set-cookie" in headers, house.secret in body) == (status, False, False)
    if code:
        assert json.loads(body)["code"] == code
    assert house.requests() == before


@pytest.mark.parametrize(
    "body",
    [f"0\r\n\r\n{EVIL}", f"2\r\n{{}}\r\n0\r\n\r\n{EVIL}", f"{len(EVIL):x}\r\n{EVIL}\r\n0\r\n\r\n"],
    ids=["after the end", "after a body", "as a body"],
)
def test_s36_a_length_beside_an_encoding_smuggles_nothing(body: str, house: House) -> None:
    before = house.requests()
    raw(house, request(house, more=f"Content-Length: {len(body)}\r\nTransfer-Encoding: chunked\r\n", body=body))
    assert house.requests()[len(before) :] == ["POST /mcp"]


def test_without_the_secret_or_the_cookie_there_is_nothing(house: House) -> None:
    before = len(house.requests())
    status, _, body = raw(house, request(house).replace(house.secret, "x" * len(house.secret)))
    assert (status, json.loads(body)["code"]) == (401, "unknown_caller")
    assert len(house.requests()) == before
    for cookies in ("theme=dark", f"SID={house.sids['ada']}", f"theme=dark\r\n sid={house.sids['ada']}"):
        assert raw(house, request(house, more=f"Cookie: {cookies}\r\n"))[0] == 403
    assert len(house.requests()) == before + 3  # it is the server that misses the cookie


def test_s36_redirects_lead_nowhere_else(house: House) -> None:
    before = len(house.requests())
    status, headers, body = raw(house, request(house, "GET /tools/away HTTP/1.1", body=""))
    assert (status, json.loads(body)["code"]) == (502, "redirected")
    assert not {"location", "set-cookie"} & set(headers)
    status, headers, _ = raw(house, request(house, "GET /tools/here HTTP/1.1", body=""))
    assert (status, headers["location"]) == (307, "/tools")
    assert house.requests()[before:] == ["GET /mcp/away", "GET /mcp/here"]
