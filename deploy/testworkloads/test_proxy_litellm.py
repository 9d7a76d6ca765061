"""LiteLLM to five providers through the agent's proxy. The workload has the secret of the agent's start and nothing
else: no token of its own, no address of Cambio or of a provider, none of their authorities.

LiteLLM speaks to Vertex AI in two ways. Its `vertex_ai` provider gets a token of Google's for itself before each
call, whatever `api_base` says, so that the workload would hold a credential after all; a secret is no such
credential. Its `gemini` provider sends a key to the same API in the same words, and is pointed at the publisher's
path; that is what is shown here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from authority import Authority
from house import Agent, Dev, plain_environment
from tap import Tap, tapped

SCRIPTS = Path(__file__).resolve().parent / "scripts"
CALLS = ("completion", "streaming", "async", "async streaming", "five at once")
CHAT = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Who am I?"}]}'
CONVERSATION = b'{"messages":[{"role":"user","content":[{"text":"Who am I?"}]}]}'
CONTENTS = b'{"contents":[{"role":"user","parts":[{"text":"Who am I?"}]}]}'


class Provider(NamedTuple):
    route: str  # also the name of its prefix
    cloud: str  # of dev
    target: str
    path: str
    body: bytes
    key: str  # the header in which its SDKs send an API key
    sees: str  # what the stand-in says


PROVIDERS = {
    "bedrock": Provider(
        "bedrock", "aws", "bedrock", "/model/m/converse", CONVERSATION, "X-Api-Key",
        ":assumed-role/llm/cambio-",
    ),
    "azure": Provider(
        "azure-openai", "azure", "azure-openai", "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21", CHAT, "Api-Key",
        "by an assertion of default:azure-openai.",
    ),
    "vertex": Provider(
        "vertex", "gcp", "vertex", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", CONTENTS, "X-Goog-Api-Key",
        "You are llm@cambio-dev.iam.gserviceaccount.com, by an assertion of ",
    ),
    "openai": Provider("openai", "openai", "gpt", "/v1/chat/completions", CHAT, "Authorization", "You are default:gpt"),
    "anthropic": Provider("anthropic", "anthropic", "claude", "/v1/messages", CHAT, "X-Api-Key", "You are default:claude"),
}  # fmt: skip


class Proxy(NamedTuple):
    url: str
    secret: str
    taps: dict[str, Tap]
    before: dict[str, int]  # exchanges, by target


def begin(start: Callable[..., Agent], config: Callable[..., Path], work: Path, routes: list[dict[str, object]]) -> tuple[str, str]:
    """A proxy's URL, and the secret of its start."""
    file = work / "litellm-proxy-secret"
    listen = "127.0.0.1:0"
    targets: dict[str, object] = {str(route["target"]): {} for route in routes}
    agent = start(config(targets=targets, proxy={"listen": listen, "secret_file": str(file), "routes": routes}))
    assert file.stat().st_mode & 0o777 == 0o600
    return "http://" + agent.ready["listeners"][listen], file.read_text()


def routes(taps: dict[str, Tap], authority: Authority) -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    for name, p in PROVIDERS.items():
        route = {"provider": p.route, "target": p.target, "upstream": taps[name].url, "ca_file": str(authority.ca_file)}
        made.append({**route, "region": "us-east-1"} if name == "bedrock" else {**route})
    return made


@pytest.fixture(scope="module")
def proxy(
    dev: Dev, keep_agent: Callable[..., Agent], agent_config: Callable[..., Path], authority: Authority, work: Path
) -> Iterator[Proxy]:
    with contextlib.ExitStack() as stack:
        taps = {name: stack.enter_context(tapped(dev.clouds[p.cloud], authority, dev.ca_file)) for name, p in PROVIDERS.items()}
        before = {p.target: len(dev.exchanges(p.target)) for p in PROVIDERS.values()}
        url, secret = begin(keep_agent, agent_config, work, routes(taps, authority))
        yield Proxy(url, secret, taps, before)


@pytest.fixture(scope="module")
def answers(proxy: Proxy, run_python: Callable[..., str]) -> dict[str, dict[str, str]]:
    environment = plain_environment() | {"AGENT_SECRET": proxy.secret}
    assert not [name for name in environment if name.startswith(("CAMBIO_", "AWS_ACC", "AWS_SEC", "GOOGLE_", "AZURE_", "SSL_"))]
    printed = run_python("litellm", SCRIPTS / "litellm_proxy.py", proxy.url, environment=environment, seconds=120)
    return json.loads(printed.splitlines()[-1])


def ask(proxy: Proxy, p: Provider, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=20)
    with contextlib.closing(connection):
        connection.request(
            "POST", f"/{p.route}{p.path}", p.body, {"Content-Type": "application/json", "Anthropic-Version": "2023-06-01", **headers}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_litellm_is_whom_the_agent_speaks_for(provider: str, call: str, answers: dict[str, dict[str, str]]) -> None:
    assert PROVIDERS[provider].sees in answers[provider][call]
    assert answers[provider][call] == answers[provider]["completion"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_s36_another_secret_is_refused(provider: str, answers: dict[str, dict[str, str]]) -> None:
    assert answers[provider]["with another secret"] == "AuthenticationError 401"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_s36_without_the_secret_nothing_is_sent(provider: str, proxy: Proxy) -> None:
    p, asked = PROVIDERS[provider], len(proxy.taps[provider].heads())
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer " + proxy.secret[:-1]}, {p.key: "Bearer x"}):
        status, text = ask(proxy, p, headers)
        assert status == 401 and json.loads(text)["code"] == "unknown_caller"
        assert proxy.secret not in text
    assert len(proxy.taps[provider].heads()) == asked


@pytest.mark.parametrize("provider", PROVIDERS)
def test_s36_what_the_workload_proves_itself_with_stays(provider: str, proxy: Proxy, answers: dict[str, dict[str, str]]) -> None:
    p, tap = PROVIDERS[provider], proxy.taps[provider]
    decoys = dict.fromkeys(
        (
            "Authorization",
            "X-Api-Key",
            "Api-Key",
            "X-Goog-Api-Key",
            "X-Amz-Security-Token",
            "X_Api_Key",
            "Proxy-Authorization",
            "X-Forwarded-Authorization",
        ),
        "workload-decoy",
    )
    secret = "Bearer " + proxy.secret if p.key == "Authorization" else proxy.secret
    status, text = ask(proxy, p, {**decoys, p.key: secret, "Cookie": "session=workload-decoy"})
    assert status == 200 and p.sees in text
    sent = b"".join(tap.connections())
    for private in (proxy.secret, "nothing-that-counts", "workload-decoy"):
        assert private.encode() not in sent
    heads = tap.heads()
    assert len(heads) >= len(CALLS) + 1
    scheme = "AWS4-HMAC-SHA256 Credential=ASIA" if provider == "bedrock" else "Bearer "
    for head in heads:
        credentials = [
            line for line in head if line.lower().startswith(("authorization:", "x-api-key:", "api-key:", "x-goog-api-key:", "cookie:"))
        ]
        assert len(credentials) == 1 and credentials[0].startswith("Authorization: " + scheme)


def test_each_provider_took_one_exchange(dev: Dev, proxy: Proxy, answers: dict[str, dict[str, str]]) -> None:
    assert set(answers) == set(PROVIDERS)
    assert {t: len(dev.exchanges(t)) - n for t, n in proxy.before.items()} == dict.fromkeys(proxy.before, 1)


def test_s36_each_start_has_a_secret_of_its_own(
    proxy: Proxy, start_agent: Callable[..., Agent], agent_config: Callable[..., Path], authority: Authority, work: Path
) -> None:
    url, secret = begin(start_agent, agent_config, work, routes(proxy.taps, authority))
    assert secret != proxy.secret
    another = proxy._replace(url=url, secret=secret)
    bearer = {"Authorization": "Bearer " + proxy.secret}
    assert ask(another, PROVIDERS["openai"], bearer)[0] == 401
    assert ask(proxy, PROVIDERS["openai"], bearer)[0] == 200
