from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import anthropic
import pytest
from house import Answer, Cambio, Gateway, Request, at_once

import cambio_client

anthropic_client = cast(Any, cambio_client.anthropic_client)
async_anthropic_client = cast(Any, cambio_client.async_anthropic_client)

QUESTION: Any = {"model": "claude-sonnet-4-6", "max_tokens": 8, "messages": [{"role": "user", "content": "Who am I?"}]}
MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "You."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def _messages(request: Request) -> Answer:
    # Without this header Anthropic takes API keys alone.
    if "oauth-2025-04-20" not in request.headers.get("anthropic-beta", "").split(",") or request.headers.get(
        "x-api-key"
    ):
        return Answer(400)
    assert json.loads(request.body) == QUESTION
    return Answer(body=json.dumps(MESSAGE).encode())


@pytest.fixture(autouse=True)
def messages(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.reply = _messages
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key that must not be used")
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)


def _text(message: Any) -> str:
    return message.content[0].text


def test_a_refused_token_is_renewed(cambio: Cambio, gateway: Gateway) -> None:
    with anthropic_client(cambio.source(), base_url=gateway.url) as client:
        assert _text(client.messages.create(**QUESTION)) == "You."
        gateway.revoked.update(cambio.issues)
        assert _text(client.messages.create(**QUESTION)) == "You."
        assert _text(client.messages.create(**QUESTION)) == "You."
    assert [r.bearer for r in gateway.requests] == [cambio.issues[i] for i in (0, 0, 1, 1)]


def test_the_async_client_renews_too(cambio: Cambio, gateway: Gateway) -> None:
    async def main() -> list[str]:
        async with async_anthropic_client(cambio.source(), base_url=gateway.url) as client:
            first = _text(await client.messages.create(**QUESTION))
            gateway.revoked.update(cambio.issues)
            rest = await asyncio.gather(*(client.messages.create(**QUESTION) for _ in range(20)))
            return [first, *map(_text, rest)]

    assert asyncio.run(main()) == ["You."] * 21
    assert len(cambio.issues) == 2


def test_a_storm_is_one_renewal(cambio: Cambio, gateway: Gateway) -> None:
    with anthropic_client(cambio.source(), base_url=gateway.url) as client:
        client.messages.create(**QUESTION)
        gateway.revoked.update(cambio.issues)
        assert at_once(16, lambda: _text(client.messages.create(**QUESTION))) == ["You."] * 16
    assert len(cambio.issues) == 2


def test_what_is_refused_for_another_reason_is_told(cambio: Cambio, gateway: Gateway) -> None:
    gateway.accepted = "nobody".__eq__
    with (
        anthropic_client(cambio.source(), base_url=gateway.url) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(**QUESTION)
    assert len(cambio.issues) == 2


def test_derived_clients_share_the_token(cambio: Cambio, gateway: Gateway) -> None:
    with anthropic_client(cambio.source(), base_url=gateway.url) as client:
        for derived in (client, client.with_options(timeout=5)):
            assert _text(derived.messages.create(**QUESTION)) == "You."
    assert len(cambio.issues) == 1


def test_s39_the_client_shows_no_token(cambio: Cambio, gateway: Gateway) -> None:
    with anthropic_client(cambio.source(), base_url=gateway.url) as client:
        client.messages.create(**QUESTION)
        given: Any = client.credentials
        assert "vended-secret" not in repr(given) + repr(given.__dict__)
