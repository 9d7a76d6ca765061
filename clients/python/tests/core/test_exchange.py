"""One exchange: what is sent, what is asked for once more, and what is made of answers good and bad."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fake_cambio import Answer, FakeCambio, TestClock, bad, good, jwt
from hypothesis import given
from hypothesis import strategies as st

from cambio_client import (
    CambioError,
    Client,
    ExchangeRefused,
    IdentityError,
    IdentityToken,
    Misconfigured,
    Response,
    Secret,
    ServerUnreachable,
    StaticIdentity,
    Token,
)

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
USER = jwt("user")


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"target": "t"}, {"audience": "t"}),
        ({"resource": "https://mcp.example"}, {"resource": "https://mcp.example"}),
        ({"target": "t", "scopes": ["a", "b"]}, {"audience": "t", "scope": "a b"}),
        ({"target": "t", "scopes": "a b"}, {"audience": "t", "scope": "a b"}),
        ({"target": "t", "lifetime": 600}, {"audience": "t", "requested_lifetime": "600"}),
        ({"target": "t", "lifetime": 600.9}, {"audience": "t", "requested_lifetime": "600"}),
        ({"target": "t", "lifetime": timedelta(minutes=2)}, {"audience": "t", "requested_lifetime": "120"}),
        ({"target": "t", "reason": "ticket 4711 & more"}, {"audience": "t", "reason": "ticket 4711 & more"}),
        ({"target": "t", "requested_token_type": "urn:x"}, {"audience": "t", "requested_token_type": "urn:x"}),
        ({"target": "t", "public_key": b"\x30\x00\xff"}, {"audience": "t", "public_key": "MAD/"}),
        ({"target": "t", "actor": USER}, {"audience": "t", "actor_token": USER, "actor_token_type": JWT}),
        ({"target": "t", "passthrough": lambda: USER}, {"audience": "t", "passthrough_token": USER}),
    ],
)
def test_what_is_sent(
    cambio: FakeCambio, client: Client, own: str, arguments: dict[str, Any], sent: dict[str, str]
) -> None:
    client.exchange(**arguments)
    assert cambio.forms == [{"grant_type": GRANT, "subject_token": own, "subject_token_type": JWT, **sent}]
    assert "authorization" not in cambio.headers[0]


def test_with_a_subject_the_workload_is_the_actor(cambio: FakeCambio, client: Client, own: str) -> None:
    cambio.subjects.add(USER)
    client.exchange("t", subject=StaticIdentity(USER, "urn:ietf:params:oauth:token-type:access_token"))
    form = cambio.forms[0]
    assert (form["subject_token"], form["actor_token"], form["actor_token_type"]) == (USER, own, JWT)
    assert form["subject_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    another = jwt("another")
    client.exchange("t", subject=USER, actor=another)
    assert cambio.forms[1]["actor_token"] == another


def test_what_comes_back(cambio: FakeCambio, client: Client, clock: TestClock) -> None:
    token = client.exchange("t")
    assert token.value.reveal() == "vended-secret-1"
    assert (token.token_type, token.scopes, token.exchange_id, token.lease_id) == (
        "Bearer",
        ("tools.read",),
        "exchange-0",
        "lease-0",
    )
    assert token.issued_token_type == "urn:ietf:params:oauth:token-type:access_token"
    assert (token.expires_at, token.remaining()) == (clock.wall + 900, 900)
    clock.pass_by(1000)
    assert token.remaining() == 0


def test_life_counts_from_when_it_was_asked_for(cambio: FakeCambio, client: Client, clock: TestClock) -> None:
    def slow(_: dict[str, str]) -> Answer:
        clock.pass_by(7)
        return good()

    cambio.answers.append(slow)
    assert client.exchange("t").remaining() == 893


def test_a_registered_client(cambio: FakeCambio, own: str) -> None:
    secrets = ["first: %", "sécond"]
    client = Client(cambio.url, identity=lambda: own, client_id="my client", client_secret=lambda: secrets.pop(0))
    for expected in ("my+client:first%3A+%25", "my+client:s%C3%A9cond"):
        client.exchange("t")
        scheme, _, pair = cambio.headers[-1]["authorization"].partition(" ")
        assert (scheme, base64.b64decode(pair).decode()) == ("Basic", expected)
    with pytest.raises(IdentityError, match="secret cannot be had") as caught:
        client.exchange("t")  # the list is empty
    assert caught.value.retryable
    assert cambio.exchanges == 2


def test_a_registered_client_by_environment(
    cambio: FakeCambio, own: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("CAMBIO_URL", cambio.url + "/")
    monkeypatch.setenv("CAMBIO_TOKEN", own)
    monkeypatch.setenv("CAMBIO_CLIENT_ID", "me")
    with pytest.raises(Misconfigured, match="CAMBIO_CLIENT_SECRET_FILE"):
        Client()
    (tmp_path / "secret").write_text("pass\n")
    monkeypatch.setenv("CAMBIO_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    Client().exchange("t")
    assert base64.b64decode(cambio.headers[0]["authorization"].split()[1]) == b"me:pass"


@pytest.mark.parametrize(
    ("answers", "exchanges", "slept"),
    [
        ([bad(503, "temporarily_unavailable")], 2, [0.2]),
        ([bad(502), bad(504)], 3, [0.2, 0.4]),
        ([bad(429, "slow_down", Retry_After="3")], 2, [3]),
        ([bad(503, "x", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")], 2, [0.2]),
    ],
)
def test_a_busy_server_is_asked_again(
    cambio: FakeCambio, client: Client, clock: TestClock, answers: list[Answer], exchanges: int, slept: list[float]
) -> None:
    cambio.answers.extend(answers)
    assert client.exchange("t").value.reveal() == f"vended-secret-{exchanges}"
    assert cambio.exchanges == exchanges
    assert clock.slept == pytest.approx(slept)


@pytest.mark.parametrize(
    ("answer", "exchanges"),
    [
        (bad(400, "invalid_target"), 1),
        (bad(401, "invalid_client"), 1),
        (bad(403, "access_denied"), 1),
        (bad(500, "server_error"), 1),
        (bad(503, "temporarily_unavailable"), 3),
        (bad(503, "temporarily_unavailable", Retry_After="11"), 1),  # longer than the caller has
        (bad(503, "temporarily_unavailable", Retry_After="6"), 2),
    ],
)
def test_how_often_is_asked_in_vain(cambio: FakeCambio, client: Client, answer: Answer, exchanges: int) -> None:
    cambio.answers.extend([answer] * 9)
    with pytest.raises(ExchangeRefused) as caught:
        client.exchange("t")
    assert cambio.exchanges == exchanges
    assert caught.value.status == answer.status
    assert caught.value.retryable == (answer.status in (429, 502, 503, 504))
    assert caught.value.exchange_id == "exchange-of-refusal"
    assert caught.value.code == json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("status", "tokens", "exchanges"),
    [
        (400, ["old", "new"], 2),  # refused, and replaced meanwhile
        (401, ["old", "new"], 2),
        (400, ["old", "old", "new"], 1),
        (400, ["old", "new", "new", "newest"], 2),  # once only
        (403, ["old", "new"], 1),  # not for the token
        (400, ["old", "broken"], 1),
    ],
)
def test_a_token_that_was_replaced_meanwhile(
    cambio: FakeCambio, clock: TestClock, status: int, tokens: list[str], exchanges: int
) -> None:
    texts = {name: jwt(name) for name in ("old", "new", "newest")}
    cambio.subjects = set(texts.values())
    rest = list(tokens)

    def identity() -> str:
        name = rest.pop(0) if len(rest) > 1 else rest[0]
        return texts.get(name, "not a token")

    cambio.answers.extend([bad(status, "invalid_request")] * exchanges)
    with pytest.raises(ExchangeRefused):
        Client(cambio.url, identity=identity, clock=clock).exchange("t")
    assert [form["subject_token"] for form in cambio.forms] == [texts["old"], texts["new"]][:exchanges]
    assert clock.slept == []


DEEP = b'{"access_token":' + b"[" * 100_000
BAD_ANSWERS: dict[str, Answer] = {
    "nothing": Answer(200),
    "no json": Answer(200, b"<html>Welcome</html>"),
    "another encoding": Answer(200, '{"access_token": "t"}'.encode("utf-16")[:9]),
    "a list": Answer(200, b"[]"),
    "null": Answer(200, b"null"),
    "a number": Answer(200, b"1"),
    "cut": Answer(200, b'{"access_token": "vended-'),
    "deep": Answer(200, DEEP),
    "giant": Answer(200, b'{"access_token": "' + b"a" * (1 << 20) + b'"}'),
    "a giant number": Answer(200, b'{"access_token": "t", "expires_in": ' + b"9" * 10_000 + b"}"),
    "no token": good(access_token=None),
    "an empty token": good(""),
    "a token that is a number": good(access_token=1),
    "half a surrogate": Answer(200, b'{"access_token": "\\ud800", "expires_in": 900}'),
    "a negative life": good(expires_in=-1),
    "an endless life": good(expires_in=1 << 31),
    "infinity": Answer(200, b'{"access_token": "t", "expires_in": Infinity}'),
    "not a number": Answer(200, b'{"access_token": "t", "expires_in": NaN}'),
    "a life in words": good(expires_in="900"),
    "a life that is true": good(expires_in=True),
    "scopes as a list": good(scope=["tools.read"]),
    "a type that is an object": good(token_type={}),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_200_that_is_none(cambio: FakeCambio, client: Client, name: str) -> None:
    cambio.answers.append(BAD_ANSWERS[name])
    with pytest.raises(ExchangeRefused, match="is it a Cambio server") as caught:
        client.exchange("t")
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("bad_answer", 200, False)
    assert cambio.exchanges == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", DEEP, b"{}", b'{"error": 1}', b'{"error": ""}', b'{"error": "x"}' + b" " * (1 << 20)],
)
def test_a_refusal_without_a_word(cambio: FakeCambio, client: Client, body: bytes) -> None:
    cambio.answers.append(Answer(404, body))
    with pytest.raises(ExchangeRefused, match="status 404") as caught:
        client.exchange("t")
    assert (caught.value.code, caught.value.exchange_id) == ("bad_answer", "")


def test_a_refusal_is_one_plain_line(cambio: FakeCambio, client: Client) -> None:
    cambio.answers.append(bad(400, "invalid_target", "no\n\x1b[31mtarget\u2028" + "ö" * 1000))
    with pytest.raises(ExchangeRefused) as caught:
        client.exchange("t")
    text = str(caught.value)
    assert text.startswith("cambio: invalid_target: no  [31mtarget ö")
    assert text.endswith("ö (exchange exchange-of-refusal)")
    assert text.isprintable()
    assert len(caught.value.description.encode()) <= 512


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(cambio: FakeCambio, client: Client, status: int) -> None:
    cambio.answers.append(Answer(status, b"", {"Location": cambio.url + "/oauth2/token"}))
    with pytest.raises(ExchangeRefused, match=f"status {status}"):
        client.exchange("t")
    assert cambio.exchanges == 1


class Fixed:
    """A transport that gives one answer, or breaks."""

    def __init__(self, answer: Response | Exception) -> None:
        self.answer = answer

    def send(self, method: str, url: str, headers: object, body: object, timeout: float) -> Response:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (OSError("the cable is out"), ServerUnreachable),
        (TimeoutError(), ServerUnreachable),
        (ServerUnreachable("unreachable", "no"), ServerUnreachable),
        (RuntimeError("a bug"), CambioError),
    ],
)
def test_a_transport_that_breaks(own: str, clock: TestClock, broken: Exception, kind: type[CambioError]) -> None:
    client = Client("https://cambio.example", identity=lambda: own, transport=Fixed(broken), clock=clock)
    with pytest.raises(kind) as caught:
        client.exchange("t")
    assert type(caught.value) is kind
    assert own not in repr(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: 1,
        lambda: None,
        lambda: b"a.b.c",
        lambda: "",
        lambda: "a.b",
        lambda: 1 / 0,
    ],
)
def test_an_identity_that_gives_none(cambio: FakeCambio, clock: TestClock, make: Callable[[], Any]) -> None:
    with pytest.raises(IdentityError, match="own token cannot be had") as caught:
        Client(cambio.url, identity=make, clock=clock).exchange("t")
    assert caught.value.retryable
    assert cambio.exchanges == 0


def test_an_identity_may_give_a_secret_or_the_whole_thing(cambio: FakeCambio, own: str) -> None:
    for identity in (lambda: Secret(own), lambda: IdentityToken(Secret(own)), StaticIdentity(own), own, Secret(own)):
        Client(cambio.url, identity=identity).exchange("t")
    assert cambio.exchanges == 5


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://cambio.example", "https"),
        ("http://127.0.0.1.example", "https"),
        ("http://localhost.example", "https"),
        ("http://10.0.0.1", "https"),
        ("http://[::2]", "https"),
        ("ftp://127.0.0.1", "https"),
        ("cambio.example", "no URL"),
        ("https://", "no URL"),
        ("https:///path", "no URL"),
        ("https://a b", "no URL"),
        ("https://host:port", "no URL"),
        ("https://[::1", "no URL"),
        ("https://host\n", "no URL"),
        ("https://host\\@other", "no URL"),
        ("https://me:hunter2@cambio.example", "no user"),
        ("https://cambio.example/#part", "no fragment"),
        ("https://cambio.example/?a=b", "no query"),
        ("https://cambio.example/?", "no query"),
        ("eyJ-a-token-in-the-wrong-place", "no URL"),
    ],
)
def test_urls_that_no_secret_is_sent_to(own: str, url: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as caught:
        Client(url, identity=lambda: own)
    assert "hunter2" not in str(caught.value)
    assert "wrong-place" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://cambio.example", "https://cambio.example"),
        ("https://cambio.example/sts/", "https://cambio.example/sts"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.8.8.8:1", "http://127.8.8.8:1"),
        ("http://[::1]:1/", "http://[::1]:1"),
        ("http://[::ffff:127.0.0.1]:1", "http://[::ffff:127.0.0.1]:1"),
    ],
)
def test_urls_that_are_taken(own: str, url: str, kept: str) -> None:
    assert Client(url, identity=lambda: own).url == kept


def test_settings_that_lack_something(own: str) -> None:
    for make in (
        lambda: Client(identity=own),
        lambda: Client("https://cambio.example"),
        lambda: Client("https://cambio.example", identity=own, client_id="me"),
        lambda: Client("https://cambio.example", identity=own, client_secret="pass"),
        lambda: Client("https://cambio.example", identity=own, ca_file="/nonexistent/ca.pem"),
        lambda: Client("https://cambio.example", identity=own, ca_file=__file__),
    ):
        with pytest.raises(Misconfigured):
            make()


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.just({})
)
members = ["access_token", "token_type", "issued_token_type", "expires_in", "scope", "exchange_id", "lease_id", "error"]


@given(
    st.integers(200, 599),
    st.one_of(st.binary(), st.dictionaries(st.sampled_from(members), anything).map(lambda d: json.dumps(d).encode())),
    st.dictionaries(st.just("retry-after"), st.text()),
)
def test_whatever_is_answered_is_a_token_or_an_error(status: int, body: bytes, headers: dict[str, str]) -> None:
    client = Client(
        "https://cambio.example",
        identity=lambda: "a.b.c",
        transport=Fixed(Response(status, headers, body)),
        clock=TestClock(),
    )
    found: Token | ExchangeRefused
    try:
        found = client.exchange("t")
    except ExchangeRefused as err:
        found = err
    if isinstance(found, ExchangeRefused):
        assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in str(found))
        assert 0 <= found.retry_after <= 300
    else:
        assert status == 200
        assert found.value.reveal()
        assert 0 <= found.remaining() <= 1 << 30
