"""Where the workload's own token comes from."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import grpc
import pytest
from fake_cambio import FakeCambio, TestClock, bad, jwt
from hypothesis import given
from hypothesis import strategies as st

from cambio_client import (
    CallableIdentity,
    Client,
    EnvironmentToken,
    ExchangeRefused,
    GitHubActions,
    IdentityError,
    Misconfigured,
    OidcClientCredentials,
    Response,
    Secret,
    ServiceAccountFile,
    SpiffeWorkload,
    StaticIdentity,
    from_environment,
)

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
WHOLE = jwt("whole", 1_800_000_000)


def claims(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "there is no token in it"),
        (" \n\t\n", "there is no token in it"),
        (WHOLE[: len(WHOLE) // 3], "was it being written"),
        (WHOLE.rpartition(".")[0], "was it being written"),
        (WHOLE.rpartition(".")[0] + ".", "was it being written"),
        (WHOLE + "\n" + WHOLE, "more than one token"),
        (WHOLE + " x", "more than one token"),
        ("Bearer " + WHOLE, "more than one token"),
        (WHOLE + "\x00", "more than one token"),
        (WHOLE + "é", "more than one token"),
        (WHOLE + ".more", "was it being written"),
        ("a" * 40_000, "at most 32768 bytes"),
    ],
)
def test_files_that_hold_no_token(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(IdentityError, match=fault) as caught:
        ServiceAccountFile(path).identity_token()
    assert str(path) in str(caught.value)
    assert "eyJ" not in str(caught.value)


@pytest.mark.parametrize("text", [WHOLE, WHOLE + "\n", "\r\n " + WHOLE + " \r\n"])
def test_files_that_hold_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    token = ServiceAccountFile(path).identity_token()
    assert (token.value.reveal(), token.expires_at) == (WHOLE, 1_800_000_000)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="mount the service account token"):
        ServiceAccountFile(tmp_path / "none").identity_token()
    with pytest.raises(IdentityError, match="directory"):
        ServiceAccountFile(tmp_path).identity_token()
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(IdentityError):
        ServiceAccountFile(tmp_path / "binary").identity_token()


def test_a_file_is_read_each_time(cambio: FakeCambio, tmp_path: Path) -> None:
    path = tmp_path / "token"
    client = Client(cambio.url, identity=ServiceAccountFile(path))
    for name in ("first", "second"):
        cambio.subjects.add(jwt(name))
        path.write_text(jwt(name))
        client.exchange("t")
        assert cambio.forms[-1]["subject_token"] == jwt(name)


def test_a_file_that_is_replaced_while_its_token_is_refused(cambio: FakeCambio, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(jwt("old"))
    cambio.subjects = {jwt("old"), jwt("new")}

    def refuse(_: dict[str, str]) -> Any:
        path.write_text(jwt("new"))
        return bad(400, "invalid_request", "the token is expired")

    cambio.answers.append(refuse)
    assert Client(cambio.url, identity=ServiceAccountFile(path)).exchange("t").value.reveal() == "vended-secret-2"


def test_a_file_that_is_half_written_while_its_token_is_refused(cambio: FakeCambio, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(jwt("old"))
    cambio.subjects = {jwt("old")}

    def refuse(_: dict[str, str]) -> Any:
        path.write_text(jwt("new")[:20])
        return bad(400, "invalid_request", "the token is expired")

    cambio.answers.append(refuse)
    with pytest.raises(ExchangeRefused, match="the token is expired"):
        Client(cambio.url, identity=ServiceAccountFile(path)).exchange("t")


@pytest.mark.parametrize(
    ("payload", "expires"),
    [
        (b'{"exp": 1800000000}', 1_800_000_000),
        (b'{"exp": 1800000000.7}', 1_800_000_000),
        (b'{"exp": 0}', None),
        (b'{"exp": -1}', None),
        (b'{"exp": true}', None),
        (b'{"exp": "1800000000"}', None),
        (b'{"exp": 1e300}', None),
        (b'{"exp": NaN}', None),
        (b"{}", None),
        (b"[]", None),
        (b"no json", None),
        (b"\xff\xfe", None),
        (b"[" * 20_000, None),
    ],
)
def test_when_a_token_ends(payload: bytes, expires: float | None) -> None:
    for padding in ("", "="):
        text = f"e30.{claims(payload)}{padding}.sig"
        assert StaticIdentity(text).identity_token().expires_at == expires


@given(st.text(), st.sampled_from(["", ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt"]))
def test_whatever_the_text_it_is_a_token_or_an_error(text: str, token_type: str) -> None:
    try:
        token = StaticIdentity(text, token_type).identity_token()
    except IdentityError:
        return
    assert token.value.reveal() == text.strip()
    assert token.value.reveal().isascii()


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = EnvironmentToken("CI_JOB_JWT")
    with pytest.raises(IdentityError, match="variable CI_JOB_JWT"):
        identity.identity_token()
    monkeypatch.setenv("CI_JOB_JWT", WHOLE)
    assert identity.identity_token().value.reveal() == WHOLE


def test_a_function_of_another_type() -> None:
    assert CallableIdentity(lambda: "opaque", ACCESS_TOKEN).identity_token().token_type == ACCESS_TOKEN


def test_what_the_surroundings_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="CAMBIO_TOKEN_FILE"):
        from_environment()
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://runner.example")
    assert isinstance(from_environment(), GitHubActions)
    monkeypatch.setattr("cambio_client._environment.DEFAULT_TOKEN_FILE", str(tmp_path))
    assert repr(from_environment()) == f"ServiceAccountFile({str(tmp_path)!r})"
    monkeypatch.setenv("CAMBIO_TOKEN", WHOLE)
    assert repr(from_environment()) == "EnvironmentToken('CAMBIO_TOKEN')"
    monkeypatch.setenv("CAMBIO_TOKEN_FILE", "/run/token")
    assert repr(from_environment()) == "ServiceAccountFile('/run/token')"


class Provider:
    """An OpenID provider, or a runner of GitHub's: keeps what it is asked, and answers in turn."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], bytes | None]] = []

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Response:
        self.asked.append((method, url, dict(headers), body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answer(status: int = 200, /, **members: Any) -> Response:
    return Response(status, {}, json.dumps(members).encode())


def oidc(provider: Provider, clock: TestClock, **more: Any) -> OidcClientCredentials:
    return OidcClientCredentials(
        "https://id.example/token", "my client", lambda: "p&ss", transport=provider, clock=clock, **more
    )


def test_client_credentials(clock: TestClock) -> None:
    provider = Provider(answer(access_token="one", expires_in=300), answer(access_token="two", expires_in=300))
    identity = oidc(provider, clock, scopes=["a", "b"], audience="cambio")
    token = identity.identity_token()
    assert (token.value.reveal(), token.token_type, token.expires_at) == ("one", ACCESS_TOKEN, clock.wall + 300)
    method, url, headers, body = provider.asked[0]
    assert (method, url) == ("POST", "https://id.example/token")
    assert dict(parse_qsl((body or b"").decode())) == {
        "grant_type": "client_credentials",
        "scope": "a b",
        "audience": "cambio",
    }
    assert base64.b64decode(headers["Authorization"].split()[1]) == b"my+client:p%26ss"
    clock.pass_by(239)
    assert identity.identity_token() is token
    clock.pass_by(2)  # a minute before its end
    assert identity.identity_token().value.reveal() == "two"
    assert len(provider.asked) == 2


def test_a_provider_that_takes_the_secret_in_the_form(clock: TestClock) -> None:
    provider = Provider(answer(401, error="invalid_client"), answer(access_token="one"))
    identity = oidc(provider, clock)
    for _ in range(2):  # it does not say how long a token lives: it is not kept
        identity.identity_token()
    assert ["Authorization" in headers for _, _, headers, _ in provider.asked] == [True, False, False]
    form = dict(parse_qsl((provider.asked[2][3] or b"").decode()))
    assert (form["client_id"], form["client_secret"]) == ("my client", "p&ss")


@pytest.mark.parametrize(
    ("life", "kept"), [("300", True), (None, False), (0, False), (-5, False), (60, False), ("x", False), (True, False)]
)
def test_how_long_a_providers_token_is_kept(clock: TestClock, life: Any, kept: bool) -> None:
    provider = Provider(answer(access_token="one", expires_in=life))
    identity = oidc(provider, clock)
    identity.identity_token()
    identity.identity_token()
    assert len(provider.asked) == (1 if kept else 2)


def test_a_token_that_is_forgotten(clock: TestClock) -> None:
    provider = Provider(answer(access_token="one", expires_in=300), answer(access_token="two", expires_in=300))
    identity = oidc(provider, clock)
    token = identity.identity_token()
    identity.forget(Secret("another"))
    assert identity.identity_token() is token
    identity.forget(token.value)
    assert identity.identity_token().value.reveal() == "two"


@pytest.mark.parametrize(
    ("given_answer", "fault"),
    [
        (answer(400, error="invalid_scope"), "400 'invalid_scope'"),
        (answer(500), "500 ''"),
        (answer(302), "302"),
        (Response(200, {}, b"<html>"), "no token"),
        (Response(200, {}, b"[1]"), "no token"),
        (answer(access_token=7), "no token"),
        (answer(access_token="two tokens"), "more than one token"),
        (Response(200, {}, b" " * (1 << 20) + b'{"access_token":"t"}'), "no token"),
    ],
)
def test_a_provider_that_gives_none(clock: TestClock, given_answer: Response, fault: str) -> None:
    with pytest.raises(IdentityError, match=fault) as caught:
        oidc(Provider(given_answer), clock).identity_token()
    assert "p&ss" not in str(caught.value)


def test_settings_of_client_credentials() -> None:
    for arguments in (
        ("http://id.example", "a", "b"),
        ("https://id.example", "", "b"),
        ("https://id.example", "a", ""),
    ):
        with pytest.raises(Misconfigured):
            OidcClientCredentials(*arguments)


def test_a_job_of_github(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(answer(value=WHOLE))
    identity = GitHubActions("https://cambio.example", transport=provider)
    with pytest.raises(IdentityError, match="id-token: write"):
        identity.identity_token()
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://runner.example/token?api-version=2")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job")
    assert identity.identity_token().value.reveal() == WHOLE
    method, url, headers, body = provider.asked[0]
    assert (method, body, headers["Authorization"]) == ("GET", None, "Bearer of-the-job")
    assert url == "https://runner.example/token?api-version=2&audience=https%3A%2F%2Fcambio.example"
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://runner.example/token")
    with pytest.raises(Misconfigured, match="https"):
        identity.identity_token()


@pytest.mark.parametrize(
    "given_answer",
    [
        answer(403),
        Response(200, {}, b"<html>"),
        answer(),
        answer(value=1),
        answer(value=""),
        answer(value="a.b"),
        Response(200, {}, b"[]"),
        Response(200, {}, b'"x"'),
        Response(200, {}, b"[" * 20_000),
    ],
)
def test_a_runner_that_gives_none(monkeypatch: pytest.MonkeyPatch, given_answer: Response) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://runner.example/token")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job")
    with pytest.raises(IdentityError) as caught:
        GitHubActions(transport=Provider(given_answer)).identity_token()
    assert "of-the-job" not in str(caught.value)


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field of protobuf, of less than 128 bytes or less than 16384."""
    size = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 0x7F | 0x80, len(value) >> 7])
    return bytes([number << 3 | 2]) + size + value


@pytest.fixture
def workload_api(tmp_path: Path) -> Iterator[tuple[str, list[bytes], str]]:
    """The Workload API on a socket: its address, what it was asked, and the JWT-SVID that it gives."""
    svid = (
        ".".join(
            claims(json.dumps(part).encode())
            for part in (
                {"alg": "ES256", "kid": "k", "typ": "JWT"},
                {"sub": "spiffe://example.org/w", "aud": ["https://cambio.example"], "exp": 1_900_000_000, "iat": 1},
            )
        )
        + "."
        + claims(b"signature")
    )
    asked: list[bytes] = []

    def fetch(body: bytes, context: Any) -> bytes:
        assert ("workload.spiffe.io", "true") in context.invocation_metadata()
        asked.append(body)
        return field(1, field(1, b"spiffe://example.org/w") + field(2, svid.encode()))

    server = grpc.server(futures.ThreadPoolExecutor(2))
    method: Callable[..., Any] = grpc.unary_unary_rpc_method_handler
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {"FetchJWTSVID": method(fetch)}),)
    )
    address = f"unix://{tmp_path / 'api.sock'}"
    server.add_insecure_port(address)
    server.start()
    yield address, asked, svid
    server.stop(None).wait()


def test_a_workload_of_spiffe(workload_api: tuple[str, list[bytes], str], monkeypatch: pytest.MonkeyPatch) -> None:
    address, asked, svid = workload_api
    token = SpiffeWorkload("https://cambio.example", socket=address).identity_token()
    assert (token.value.reveal(), token.expires_at) == (svid, 1_900_000_000)
    assert asked == [field(1, b"https://cambio.example")]
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", address)
    assert SpiffeWorkload("https://cambio.example").identity_token().value.reveal() == svid


def test_a_workload_api_that_is_not_there(tmp_path: Path, cambio: FakeCambio) -> None:
    identity = SpiffeWorkload("https://cambio.example", socket=f"unix://{tmp_path / 'none.sock'}")
    with pytest.raises(IdentityError):
        Client(cambio.url, identity=identity).exchange("t")
    with pytest.raises(Misconfigured):
        SpiffeWorkload("")
