from __future__ import annotations

import asyncio
import base64
import copy
import json
import time
from typing import Any

import pytest
from azure.core import AsyncPipelineClient, PipelineClient
from azure.core.credentials import SupportsTokenInfo, TokenCredential
from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest
from azure.identity import ChainedTokenCredential, get_bearer_token_provider
from house import Answer, Cambio, Gateway, Request, at_once

from cambio_client import CambioError, async_azure_credential, azure_credential

SCOPE = "https://cognitiveservices.azure.com/.default"


def test_the_protocols_are_azures(cambio: Cambio) -> None:
    credential, aio = azure_credential(cambio.source()), async_azure_credential(cambio.source())
    assert isinstance(credential, TokenCredential)
    assert isinstance(credential, SupportsTokenInfo)
    assert isinstance(aio, AsyncTokenCredential)
    assert isinstance(aio, AsyncSupportsTokenInfo)
    with credential as same:
        assert same is credential


def test_a_pipeline_sends_the_token(cambio: Cambio, gateway: Gateway) -> None:
    policy = BearerTokenCredentialPolicy[Any, Any](azure_credential(cambio.source()), SCOPE)
    with PipelineClient[Any, Any](gateway.url, policies=[policy]) as client:
        for _ in range(3):
            answer = client.send_request(HttpRequest("GET", gateway.url), enforce_https=False)
            assert answer.status_code == 200
    assert len(cambio.issues) == 1


def _challenging(gateway: Gateway, cambio: Cambio) -> None:
    """Has the gateway ask for claims, as with continuous access evaluation, until there is another token."""
    claims = base64.b64encode(b'{"access_token":{"nbf":{"essential":true}}}').decode()
    challenge = f'Bearer realm="", error="insufficient_claims", claims="{claims}"'

    def reply(request: Request) -> Answer:
        if request.bearer == cambio.issues[0]:
            return Answer(401, headers={"WWW-Authenticate": challenge})
        return Answer()

    gateway.reply = reply


def test_claims_renew_the_token(cambio: Cambio, gateway: Gateway) -> None:
    _challenging(gateway, cambio)
    policy = BearerTokenCredentialPolicy[Any, Any](azure_credential(cambio.source()), SCOPE)
    with PipelineClient[Any, Any](gateway.url, policies=[policy]) as client:
        answer = client.send_request(HttpRequest("GET", gateway.url), enforce_https=False)
    assert answer.status_code == 200
    assert [r.bearer for r in gateway.requests] == cambio.issues


def test_claims_renew_the_token_of_async_pipelines(cambio: Cambio, gateway: Gateway) -> None:
    _challenging(gateway, cambio)

    async def main() -> int:
        async with async_azure_credential(cambio.source()) as credential:
            policy = AsyncBearerTokenCredentialPolicy[Any, Any](credential, SCOPE)
            async with AsyncPipelineClient[Any, Any](gateway.url, policies=[policy]) as client:
                answer = await client.send_request(HttpRequest("GET", gateway.url), enforce_https=False)
                await answer.read()
                return answer.status_code

    assert asyncio.run(main()) == 200
    assert [r.bearer for r in gateway.requests] == cambio.issues


def test_claims_of_many_are_one_renewal(cambio: Cambio) -> None:
    credential = azure_credential(cambio.source())
    old = credential.get_token(SCOPE).token
    tokens = at_once(16, lambda: credential.get_token(SCOPE, claims="{}").token)
    assert old == cambio.issues[0]
    assert tokens == cambio.issues[1:] * 16


def test_when_it_ends_and_when_to_ask_again(cambio: Cambio) -> None:
    cambio.life = 7200
    info = azure_credential(cambio.source()).get_token_info(SCOPE)
    assert info.refresh_on is not None
    assert time.time() < info.refresh_on < info.expires_on <= time.time() + 7200
    assert info.expires_on - info.refresh_on <= 361
    assert info.token_type == "Bearer"


def test_a_source_for_each_scope(cambio: Cambio) -> None:
    model, vault = cambio.source(), cambio.source()
    credential = azure_credential({SCOPE: model, "https://vault.azure.net/.default": vault})
    first = credential.get_token(SCOPE)
    second = credential.get_token("https://vault.azure.net/.default", tenant_id="t", enable_cae=True)
    assert [first.token, second.token] == cambio.issues
    for scopes in ([], ["https://graph.microsoft.com/.default"], [SCOPE, "https://vault.azure.net/.default"]):
        with pytest.raises(ClientAuthenticationError, match=r"no one source.*vault\.azure\.net"):
            credential.get_token(*scopes)
    assert len(cambio.issues) == 2


def test_a_failure_is_azures(cambio: Cambio) -> None:
    cambio.down = True
    with pytest.raises(ClientAuthenticationError, match="temporarily_unavailable") as caught:
        azure_credential(cambio.source()).get_token(SCOPE)
    assert isinstance(caught.value.__cause__, CambioError)
    cambio.down, cambio.token_type = False, "N_A"
    with pytest.raises(ClientAuthenticationError, match="no bearer token"):
        asyncio.run(async_azure_credential(cambio.source()).get_token(SCOPE))


def test_it_fits_into_azures_own_helpers(cambio: Cambio) -> None:
    chained = ChainedTokenCredential(azure_credential(cambio.source()))
    assert get_bearer_token_provider(chained, SCOPE)() == cambio.issues[0]


def test_s39_it_shows_no_token(cambio: Cambio) -> None:
    credential = azure_credential(cambio.source())
    credential.get_token(SCOPE)
    assert "vended-secret" not in repr(credential) + repr(vars(credential)) + json.dumps(str(credential))
    assert copy.deepcopy(credential) is credential
