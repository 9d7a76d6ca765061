"""The agent as a gateway's proxy: it verifies the callers' own OIDC tokens, exchanges for each of them, and sends what
it got in their place. Callers are the official openai client with OIDC client credentials."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import jwt
import pytest
from authority import Authority
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from house import Agent, Dev, plain_environment, write_secret
from jwt.algorithms import RSAAlgorithm
from oidc_provider import Provider, provider
from tap import Tap, tapped

SCRIPTS = Path(__file__).resolve().parent / "scripts"
AUDIENCE = "llm-gateway"
TARGET = "gpt-people"
USERS = {user: f"secret-of-{user}-+%&" for user in ("ada", "bob", "eve")}
ALLOWED = ("ada", "bob")
CALLS = ("completion", "streaming", "adapter", "async", "async streaming", "five at once", "async adapter")
POLICY = """
trusts:
  apps:
    oidc:
      issuer: {issuer}
      keys: {{file: {keys}}}
      audiences: [{audience}]
      clientless: true
targets:
  gpt-people:
    openai:
      identity_provider_id: wip_cambiodev
      service_account_id: svc_llm
      endpoint: {openai}
      subject: [subject]
      may_outlive: true
  gateway-in-force: {{mcp: {{resource: "https://mcp.example/gateway-in-force"}}}}
allow:
  - name: gateway-for-apps
    subjects: [{{subject: "oidc:apps:ada"}}, {{subject: "oidc:apps:bob"}}]
    actors: [{{trust: cluster, namespace: llm, service_account: gateway}}]
    targets: [gpt-people]
  - {{name: gateway-is-asked, subjects: [{{trust: cluster, namespace: llm, service_account: gateway}}], targets: [gateway-in-force]}}
"""


class House(NamedTuple):
    url: str  # of the agent's proxy
    idp: Provider
    stranger: Provider  # another provider, just as good, which nobody here trusts
    tap: Tap
    work: Path
    dev: Dev
    ca_file: Path


@pytest.fixture(scope="module")
def house(
    dev: Dev, keep_agent: Callable[..., Agent], agent_config: Callable[..., Path], authority: Authority, work: Path
) -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        idp, stranger = (stack.enter_context(provider(USERS, authority)) for _ in range(2))
        tap = stack.enter_context(tapped(dev.clouds["openai"], authority, dev.ca_file))
        keys = work / "gateway-jwks.json"
        keys.write_text(json.dumps(idp.jwks()))
        policy = POLICY.format(issuer=idp.issuer, keys=keys, audience=AUDIENCE, openai=dev.clouds["openai"])
        dev.policy("gateway", policy, "gateway-in-force")
        route = {
            "provider": "openai", "target": TARGET, "upstream": tap.url, "ca_file": str(authority.ca_file),
            "gateway": {"issuer": idp.issuer, "audience": AUDIENCE, "ca_file": str(authority.ca_file), "algorithms": ["RS256"]},
        }  # fmt: skip
        agent = keep_agent(agent_config(targets={TARGET: {}}, proxy={"listen": "127.0.0.1:0", "routes": [route]}))
        yield House("http://" + agent.ready["listeners"]["127.0.0.1:0"], idp, stranger, tap, work, dev, authority.ca_file)


def who(user: str) -> str:
    return f"You are default:{TARGET}:oidc%3Aapps%3A{user}"


def ask(house: House, *authorizations: str, **headers: str) -> tuple[int, dict[str, object], str]:
    """Status, answer, and challenge of one call."""
    connection = http.client.HTTPConnection(urlsplit(house.url).netloc, timeout=20)
    with contextlib.closing(connection):
        body = b'{"model":"m","messages":[{"role":"user","content":"Who am I?"}]}'
        connection.putrequest("POST", "/openai/v1/chat/completions")
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        for authorization in authorizations:
            connection.putheader("Authorization", authorization)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers.get("WWW-Authenticate", "")


def content(answer: dict[str, object]) -> str:
    return answer["choices"][0]["message"]["content"]  # pyright: ignore


@pytest.fixture(scope="module", params=["newest", "oldest"])
def clients(request: pytest.FixtureRequest, house: House, run_python: Callable[..., str]) -> tuple[dict[str, dict[str, str]], int, int]:
    """What the openai client of each user is told, and how many tokens and exchanges that took."""
    settings = {
        "url": house.url + "/openai/v1", "token_url": house.idp.issuer + "/token", "audience": AUDIENCE, "ca_file": str(house.ca_file),
        "users": {user: str(write_secret(house.work / f"gateway-{user}.secret", USERS[user])) for user in ALLOWED},
    }  # fmt: skip
    file = house.work / "gateway.json"
    file.write_text(json.dumps(settings))
    issued, exchanged = house.idp.issued, len(house.dev.exchanges(TARGET))
    printed = run_python(request.param, SCRIPTS / "gateway_openai.py", str(file), environment=plain_environment())
    return json.loads(printed.splitlines()[-1]), house.idp.issued - issued, len(house.dev.exchanges(TARGET)) - exchanged


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("user", ALLOWED)
def test_each_user_is_seen(user: str, call: str, clients: tuple[dict[str, dict[str, str]], int, int]) -> None:
    assert clients[0][user][call] == who(user)


def test_a_token_and_an_exchange_for_each_user(clients: tuple[dict[str, dict[str, str]], int, int]) -> None:
    answers, issued, exchanged = clients
    assert {user: set(told) for user, told in answers.items()} == dict.fromkeys(ALLOWED, set(CALLS))
    assert (issued, exchanged) == (len(ALLOWED), len(ALLOWED))


def test_the_ledger_names_the_user_and_the_agent(house: House) -> None:
    status, answer, _ = ask(house, "Bearer " + house.idp.sign(house.idp.claims("ada", AUDIENCE)))
    assert status == 200
    assert content(answer) == who("ada")
    newest = json.dumps(house.dev.exchanges(TARGET)[0])
    assert "oidc:apps:ada" in newest
    assert "k8s:cluster:llm:gateway" in newest


def test_s36_nothing_of_the_caller_goes_on(house: House) -> None:
    token = house.idp.sign(house.idp.claims("bob", AUDIENCE))
    status, answer, _ = ask(house, "Bearer " + token, X_Api_Key=token, Api_Key=token, Cookie="id=" + token, Proxy_Authorization=token)
    assert status == 200
    assert content(answer) == who("bob")
    sent = b"".join(house.tap.connections())
    assert b"eyJ" not in sent
    assert b"X-Forwarded" not in sent
    for head in house.tap.heads():
        assert [line.split()[1] for line in head if line.lower().startswith(("authorization:", "cookie:", "x-api-key:", "api-key:"))] == [
            "Bearer"
        ]


def forged(house: House) -> dict[str, list[str]]:
    """Authorization headers that are worth nothing."""
    idp, stranger = house.idp, house.stranger
    good = idp.claims("ada", AUDIENCE)
    now = int(good["iat"])  # pyright: ignore
    token = idp.sign(good)
    head, payload, signature = token.split(".")
    another = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = RSAAlgorithm.to_jwk(another.public_key(), as_dict=True)
    pem = idp.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def encoded(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    def by_mac() -> str:
        signed = encoded({"alg": "HS256", "kid": idp.kid}) + "." + payload
        return signed + "." + base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()

    def without(name: str) -> dict[str, object]:
        return {claim: value for claim, value in good.items() if claim != name}

    tokens = {
        "forged by another key": jwt.encode(good, another, "RS256", {"kid": idp.kid}),
        "forged by a key that it brings": jwt.encode(good, another, "RS256", {"kid": idp.kid, "jwk": own}),
        "forged without a signature": encoded({"alg": "none"}) + "." + payload + ".",
        "forged with an empty signature": head + "." + payload + ".",
        "forged by the public key as a secret": by_mac(),
        "forged claims": head + "." + encoded({**good, "sub": "bob"}) + "." + signature,
        "another algorithm": jwt.encode(good, idp.key, "RS512", {"kid": idp.kid}),
        "expired": idp.sign({**good, "iat": now - 700, "nbf": now - 700, "exp": now - 100}),
        "not good yet": idp.sign({**good, "nbf": now + 300}),
        "without an end": idp.sign(without("exp")),
        "of another audience": idp.sign({**good, "aud": "cambio"}),
        "of no audience": idp.sign(without("aud")),
        "of another issuer": stranger.sign(stranger.claims("ada", AUDIENCE)),
        "of another issuer, with this one's name": stranger.sign(good),
        "of this one, with another issuer's name": idp.sign({**good, "iss": stranger.issuer}),
        "the client's secret": USERS["ada"],
        "of the agent itself": house.dev.token(),
        "nothing": "",
    }
    return {
        **{name: ["Bearer " + text] for name, text in tokens.items()},
        "no header": [],
        "two headers": ["Bearer " + token, "Bearer " + token],
        "two tokens": [f"Bearer {token}, Bearer {token}"],
        "another scheme": ["Basic " + token],
    }


FORGED = (
    "forged by another key", "forged by a key that it brings", "forged without a signature", "forged with an empty signature",
    "forged by the public key as a secret", "forged claims", "another algorithm", "expired", "not good yet", "without an end",
    "of another audience", "of no audience", "of another issuer", "of another issuer, with this one's name",
    "of this one, with another issuer's name", "the client's secret", "of the agent itself", "nothing", "no header", "two headers",
    "two tokens", "another scheme",
)  # fmt: skip


@pytest.fixture(scope="module")
def refused(house: House) -> tuple[dict[str, tuple[int, dict[str, object], str]], int, int]:
    """What each of them is told, and how many exchanges and requests to the upstream that took."""
    exchanged, asked = len(house.dev.exchanges(TARGET)), len(house.tap.heads())
    told = {name: ask(house, *headers) for name, headers in forged(house).items()}
    return told, len(house.dev.exchanges(TARGET)) - exchanged, len(house.tap.heads()) - asked


@pytest.mark.parametrize("name", FORGED)
def test_s36_tokens_that_prove_nothing_are_refused(
    name: str, refused: tuple[dict[str, tuple[int, dict[str, object], str]], int, int]
) -> None:
    status, answer, challenge = refused[0][name]
    assert (status, answer["code"]) == (401, "invalid_token")
    assert challenge.startswith("Bearer ")
    assert 'error="invalid_token"' in challenge
    assert "eyJ" not in json.dumps(answer)


def test_s36_nothing_is_exchanged_for_them(refused: tuple[dict[str, tuple[int, dict[str, object], str]], int, int]) -> None:
    told, exchanged, asked = refused
    assert set(told) == set(FORGED)
    assert (exchanged, asked) == (0, 0)


def test_who_may_not_have_the_target_gets_nobody_elses(house: House) -> None:
    asked = len(house.tap.heads())
    status, answer, _ = ask(house, "Bearer " + house.idp.sign(house.idp.claims("eve", AUDIENCE)))
    assert (status, answer["code"]) == (502, "no_credential")
    assert len(house.tap.heads()) == asked


def test_a_wrong_secret_is_told_and_not_printed(house: House, run_python: Callable[..., str]) -> None:
    """A client whose secret is wrong is told so by its provider, and the agent never sees it."""
    program = """
import sys, openai
from cambio_client import CambioError, OidcClientCredentials, openai_client
identity = OidcClientCredentials(sys.argv[1] + "/token", "ada", lambda: "wrong-" + "secret", audience="llm-gateway", ca_file=sys.argv[3])
try:
    openai_client(identity, base_url=sys.argv[2], max_retries=0).models.list()
except (CambioError, openai.APIError) as err:
    causes = [err]
    while (err := err.__cause__ or err.__context__) is not None:
        causes.append(err)
    print([str(err) for err in causes])
"""
    asked = len(house.tap.heads())
    printed = run_python("newest", program, house.idp.issuer, house.url + "/openai/v1", str(house.ca_file), environment=plain_environment())
    assert "invalid_client" in printed
    assert "wrong-secret" not in printed
    assert len(house.tap.heads()) == asked
