from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import openai
import pytest
from house import Answer, Cambio, Gateway, Request, at_once

from cambio_client import (
    CambioError,
    Misconfigured,
    TokenSource,
    async_azure_openai_client,
    async_openai_client,
    azure_openai_client,
    http_auth,
    openai_client,
)

QUESTION: Any = [{"role": "user", "content": "Who am I?"}]
COMPLETION: dict[str, Any] = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "You."}}],
}


def _chat(request: Request) -> Answer:
    asked = json.loads(request.body)
    assert asked["messages"] == QUESTION
    if not asked.get("stream"):
        return Answer(body=json.dumps(COMPLETION).encode())
    chunk = {**COMPLETION, "object": "chat.completion.chunk"}
    chunk["choices"] = [{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": "You."}}]
    events = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    return Answer(body=events.encode(), headers={"Content-Type": "text/event-stream"})


@pytest.fixture(autouse=True)
def chat(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.reply = _chat
    monkeypatch.setenv("OPENAI_API_KEY", "a key that must not be used")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "a key that must not be used")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)


MAKERS: dict[str, Any] = {
    "openai": openai_client,
    "azure": azure_openai_client,
    "async openai": async_openai_client,
    "async azure": async_azure_openai_client,
}


def _client(kind: str, source: TokenSource, gateway: Gateway) -> Any:
    if "azure" in kind:
        return MAKERS[kind](source, azure_endpoint=gateway.url, api_version="2024-10-21")
    return MAKERS[kind](source, base_url=gateway.url)


def _ask(client: Any) -> str:
    async def ask() -> str:
        async with client:
            answer = await client.chat.completions.create(model="m", messages=QUESTION)
            return answer.choices[0].message.content

    if isinstance(client, openai.AsyncOpenAI):
        return asyncio.run(ask())
    with client:
        return client.chat.completions.create(model="m", messages=QUESTION).choices[0].message.content


@pytest.mark.parametrize("kind", MAKERS)
def test_a_refused_token_is_renewed(cambio: Cambio, gateway: Gateway, kind: str) -> None:
    source = cambio.source()
    gateway.revoked.add(source.token().value.reveal())

    assert _ask(_client(kind, source, gateway)) == "You."
    assert [r.bearer for r in gateway.requests] == cambio.issues


@pytest.mark.parametrize("kind", MAKERS)
def test_a_token_that_is_refused_midway_is_renewed(cambio: Cambio, gateway: Gateway, kind: str) -> None:
    client = _client(kind, cambio.source(), gateway).with_options(max_retries=0)

    async def asynchronously() -> None:
        async with client:
            for _ in range(2):
                assert (await client.chat.completions.create(model="m", messages=QUESTION)).choices
                gateway.revoked.update(cambio.issues)

    if isinstance(client, openai.AsyncOpenAI):
        asyncio.run(asynchronously())
    else:
        with client:
            for _ in range(2):
                assert client.chat.completions.create(model="m", messages=QUESTION).choices
                gateway.revoked.update(cambio.issues)
    assert [r.bearer for r in gateway.requests] == [cambio.issues[i] for i in (0, 0, 1)]


def test_a_stream_is_renewed_too(cambio: Cambio, gateway: Gateway) -> None:
    with openai_client(cambio.source(), base_url=gateway.url) as client:
        for _ in range(2):
            stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
            assert [chunk.choices[0].delta.content for chunk in stream] == ["You."]
            gateway.revoked.update(cambio.issues)


def test_a_storm_is_one_renewal(cambio: Cambio, gateway: Gateway) -> None:
    with openai_client(cambio.source(), base_url=gateway.url) as client:

        def ask() -> object:
            return client.chat.completions.create(model="m", messages=QUESTION).choices[0].message.content

        ask()
        gateway.revoked.update(cambio.issues)
        assert at_once(16, ask) == ["You."] * 16
    assert len(cambio.issues) == 2


def test_derived_clients_share_the_token(cambio: Cambio, gateway: Gateway) -> None:
    with openai_client(cambio.source(), base_url=gateway.url) as client:
        for derived in (client.with_options(timeout=5), copy.copy(client)):
            assert derived.chat.completions.create(model="m", messages=QUESTION).choices
    assert len(cambio.issues) == 1


def test_why_there_is_no_token_is_told(cambio: Cambio, gateway: Gateway) -> None:
    cambio.issued, cambio.token_type = "urn:cambio:token-type:secret", "N_A"
    with openai_client(cambio.source(), base_url=gateway.url) as client, pytest.raises(CambioError, match="no bearer"):
        client.chat.completions.create(model="m", messages=QUESTION)


def test_an_http_client_of_ones_own_has_to_renew(cambio: Cambio, gateway: Gateway) -> None:
    source = cambio.source()
    own: Any = openai.DefaultHttpxClient(auth=http_auth(source), trust_env=False)
    assert _ask(openai_client(source, base_url=gateway.url, http_client=own)) == "You."
    other: Any = openai.DefaultHttpxClient()
    with other, pytest.raises(Misconfigured, match="auth=http_auth"):
        openai_client(source, base_url=gateway.url, http_client=other)
    assert other.auth is None
