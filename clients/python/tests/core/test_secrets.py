"""What holds a secret does not print it, whatever looks at it."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import http.client
import logging
import os
import pickle
import pprint
import socket
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_cambio import Answer, FakeCambio, TestClock, bad, good, jwt

import cambio_client
from cambio_client import (
    CambioError,
    Client,
    ExchangeRefused,
    IdentityError,
    IdentityToken,
    Misconfigured,
    OidcClientCredentials,
    Response,
    Secret,
    ServerUnreachable,
    StaticIdentity,
)

HIDDEN = "hidden-" + "value"
"""Is in every secret of these tests, and in nothing else."""


def things(url: str, clock: TestClock) -> dict[str, Any]:
    own = jwt(HIDDEN)
    client = Client(url, identity=own, client_id="me", client_secret=HIDDEN, clock=clock)
    source = client.token_source("t", subject=own)
    return {
        "secret": Secret(HIDDEN),
        "client": client,
        "source": source,
        "token": source.token(),
        "identity token": IdentityToken(Secret(HIDDEN)),
        "static": StaticIdentity(own),
        "oidc": OidcClientCredentials("https://id.example", "me", HIDDEN),
        "callable": cambio_client.CallableIdentity(lambda: HIDDEN),
        "response": Response(200, {}, HIDDEN.encode()),
    }


def test_s39_nothing_prints_a_secret(cambio: FakeCambio, clock: TestClock, caplog: pytest.LogCaptureFixture) -> None:
    cambio.subjects.clear()
    cambio.answers.append(good(HIDDEN))
    for name, thing in things(cambio.url, clock).items():
        for text in (
            repr(thing),
            str(thing),
            f"{thing!s} {thing!r}",
            "%s %r" % (thing, thing),  # noqa: UP031
            repr([thing]),
            repr({"a": {"b": thing}}),
            pprint.pformat([thing]),
            ascii(thing),
        ):
            assert HIDDEN not in text, name
        logging.getLogger("test").warning("%s %r", thing, thing)
    assert HIDDEN not in caplog.text
    assert caplog.text


@pytest.mark.parametrize("form", ["{}", "{:>20}", "{!r}", "{!s}", "{!a}", "{:s}"])
def test_s39_each_format_of_a_secret(form: str) -> None:
    assert form.format(Secret(HIDDEN)).strip() == "REDACTED"


def test_s39_a_secret(cambio: FakeCambio) -> None:
    secret = Secret(HIDDEN)
    assert secret == Secret(HIDDEN)
    assert secret != Secret("another")
    assert secret != HIDDEN
    assert secret
    assert not Secret("")
    assert copy.deepcopy([secret])[0] is secret
    assert not hasattr(secret, "__dict__")
    for wrong in (lambda: hash(secret), lambda: pickle.dumps(secret), lambda: secret + "", lambda: len(secret)):  # type: ignore[operator,arg-type]
        with pytest.raises(TypeError) as caught:
            wrong()
        assert HIDDEN not in str(caught.value)
    with pytest.raises(ValueError, match="format"):
        f"{secret:d}"


def test_s39_what_holds_a_secret_is_not_pickled(cambio: FakeCambio, clock: TestClock) -> None:
    cambio.subjects.clear()
    for name, thing in things(cambio.url, clock).items():
        if name != "response":
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                pickle.dumps(thing)


def test_a_token_is_not_changed(client: Client) -> None:
    token = client.exchange("t")
    with pytest.raises(dataclasses.FrozenInstanceError):
        token.value = Secret("x")  # type: ignore[misc]


@pytest.mark.parametrize("kind", [CambioError, IdentityError, ExchangeRefused, ServerUnreachable, Misconfigured])
def test_errors_are_pickled_whole(kind: type[CambioError]) -> None:
    error = kind("code", "what to change", status=503, exchange_id="e", retryable=True, retry_after=2.5)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert isinstance(again, CambioError)
    assert vars(again) == vars(error)
    assert str(again) == str(error) == "cambio: code: what to change (exchange e)"
    assert vars(copy.copy(error)) == vars(error)


def frames(error: BaseException | None, ours: str = "cambio_client") -> str:
    """What a tool prints that shows the variables of each frame, of the error and of what came before it. The frames
    of the tests hold the tokens themselves, and are left out."""
    text = ""
    while error is not None:
        text += f"{error!r} {error}"
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if ours in frame.f_code.co_filename:
                text += " ".join(shown(value) for value in frame.f_locals.values())
        error = error.__cause__ or error.__context__
    return text


def shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as err:  # of an object that is half made
        return str(err)


class Breaks:
    def send(self, method: str, url: str, headers: object, body: object, timeout: float) -> Response:
        raise OSError("broken")


def failures(cambio: FakeCambio, own: str) -> dict[str, Callable[[], object]]:
    def client(identity: Any = None, url: str = "", **more: Any) -> Client:
        made = identity if identity is not None else own
        return Client(url or cambio.url, identity=made, client_id="me", client_secret=HIDDEN, **more)

    nowhere = "http://127.0.0.1:1"
    refusing = client()
    oidc = OidcClientCredentials(nowhere, "me", HIDDEN)
    return {
        "refused": lambda: refusing.exchange("t"),
        "refused, by a source": lambda: refusing.token_source("u").token(),
        "refused, for a user": lambda: refusing.exchange("t", subject=own, passthrough=own),
        "refused, for a user, on a loop": lambda: asyncio.run(refusing.aexchange("t", subject=own, actor=own)),
        "refused, after a rejection": lambda: refusing.token_source("v").token(rejected=HIDDEN),
        "refused, after a rejection, on a loop": lambda: asyncio.run(
            refusing.token_source("w").atoken(rejected=HIDDEN)
        ),
        "unreachable": lambda: client(url=nowhere, timeout=0.1).exchange("t"),
        "a transport that breaks": lambda: client(transport=Breaks(), timeout=0.1).exchange("t"),
        "an identity of two tokens": lambda: client(lambda: f"{own} {own}").exchange("t"),
        "an identity of half a token": lambda: client(own[:40]).exchange("t"),
        "a provider that is not there": oidc.identity_token,
        "a provider that is not there, by the client": lambda: client(oidc).exchange("t"),
        "a url that is none": lambda: client(url="nowhere"),
        "a secret of nobody": lambda: Client("https://cambio.example", identity=own, client_secret=HIDDEN),
        "a provider without a URL": lambda: OidcClientCredentials("nowhere", "me", HIDDEN),
    }


def test_s39_no_traceback_shows_a_secret(cambio: FakeCambio) -> None:
    own = jwt(HIDDEN)
    cambio.subjects = {own}
    cambio.answers.extend([bad(403, "access_denied")] * 6)
    for name, fail in failures(cambio, own).items():
        with pytest.raises(CambioError) as caught:
            fail()
        text = frames(caught.value)
        assert HIDDEN not in text, name
        assert own not in text, name
        assert own[:40] not in text, name


def echo(form: dict[str, str]) -> Answer:
    """A server that says what it was told."""
    return bad(403, "access_denied", "no " + " ".join(form.values()))


def test_s39_no_error_repeats_what_a_server_repeats(cambio: FakeCambio) -> None:
    own, theirs, third = jwt(HIDDEN), jwt("user-" + HIDDEN), jwt("third-" + HIDDEN)
    cambio.subjects = {own, theirs}
    cambio.answers.append(echo)
    client = Client(cambio.url, identity=own, client_id="me", client_secret=HIDDEN)
    with pytest.raises(ExchangeRefused, match="REDACTED") as caught:
        client.exchange("t", subject=theirs, passthrough=third)
    said = str(caught.value)
    assert HIDDEN not in said
    assert not any(token in said for token in (own, theirs, third))


def unreachable(text: str) -> Exception:
    return ServerUnreachable("unreachable", text)


class Echo:
    """A transport whose errors quote what it was to send."""

    def __init__(self, kind: Callable[[str], Exception]) -> None:
        self.kind = kind

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Response:
        raise self.kind(f"cannot send {headers} {body!r}")


@pytest.mark.parametrize("kind", [OSError, http.client.BadStatusLine, ValueError, unreachable])
def test_s39_no_error_repeats_what_a_transport_repeats(kind: Callable[[str], Exception]) -> None:
    own = jwt(HIDDEN)
    client = Client(
        "https://cambio.example", identity=own, client_id="me", client_secret=HIDDEN, transport=Echo(kind), timeout=0.05
    )
    for fail in (lambda: client.exchange("t"), lambda: client.rest().post("/v1/x", {"token": HIDDEN})):
        with pytest.raises(CambioError) as caught:
            fail()
        for secret in (own, HIDDEN, "bWU6"):  # of basic, "me:"
            assert secret not in str(caught.value)


def test_s39_an_answer_that_is_no_http_is_not_quoted(clock: TestClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(1 << 16).split(b"\r\n\r\n")[-1] + b"\r\n")

        for _ in range(2):
            threading.Thread(target=answer, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}", identity=jwt(HIDDEN), timeout=0.05, clock=clock)
        with pytest.raises(ServerUnreachable, match="no HTTP") as caught:
            client.exchange("t")
    assert HIDDEN not in str(caught.value)
    assert "eyJ" not in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\nX-Injected: yes", " and more", "\u00e9", "\0"])
def test_s39_a_token_that_fits_no_header_is_neither_sent_nor_shown(
    monkeypatch: pytest.MonkeyPatch, cambio: FakeCambio, end: str
) -> None:
    class Own:
        def identity_token(self) -> IdentityToken:
            return IdentityToken(Secret(HIDDEN + end))

    client = Client(cambio.url, identity=Own())
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", cambio.url)
    monkeypatch.setattr("os.environ", {**os.environ, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": HIDDEN + end})
    for fail in (
        lambda: client.exchange("t"),
        lambda: client.rest().post("/v1/x", {}),
        lambda: cambio_client.GitHubActions().identity_token(),
    ):
        with pytest.raises(IdentityError) as caught:
            fail()
        assert HIDDEN not in frames(caught.value)
    assert cambio.exchanges == 0


def test_s39_no_log_of_the_standard_library_shows_a_token(
    cambio: FakeCambio, client: Client, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 9)
    assert client.exchange("t").value.reveal()
    with pytest.raises(CambioError):
        Client("https://127.0.0.1:1", identity=jwt(HIDDEN), timeout=0.05).exchange("t")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["target", "resource", "reason", "requested_token_type", "scopes"])
def test_s39_what_is_asked_for_adds_no_parameter(cambio: FakeCambio, client: Client, name: str) -> None:
    text = "x&subject_token=y\r\nX-Injected: yes\r\n\r\n%26audience=z"
    asked: dict[str, Any] = {"target": "t", name: [text] if name == "scopes" else text}
    client.exchange(**asked)
    form, headers = cambio.forms[-1], cambio.headers[-1]
    sent = {"target": "audience", "scopes": "scope"}.get(name, name)
    assert form[sent] == text
    assert form["subject_token"].startswith("eyJ")
    assert "x-injected" not in headers
