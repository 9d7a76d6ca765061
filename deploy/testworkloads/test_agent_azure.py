"""azure-identity, unmodified, by the identity endpoint of App Service, which the agent plays; then Azure OpenAI by the openai package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import DOOR, OPS, request
from house import Agent, Dev

Ask = Callable[..., dict[str, Any]]
RESOURCE = "https://cognitiveservices.azure.com"
CALLS = {"managed", "default", "managed, async", "default, async"}
QUERY = f"?api-version=2019-08-01&resource={RESOURCE}"


@pytest.fixture(scope="module")
def secret_file(work: Path) -> Path:
    return work / "azure-door-secret"


@pytest.fixture(scope="module")
def before(dev: Dev) -> int:
    """How often others had the target; a test takes it ahead of the agent."""
    return len(dev.exchanges("azure-openai"))


@pytest.fixture(scope="module")
def endpoint(keep_agent: Callable[..., Agent], agent_config: Callable[..., Path], secret_file: Path, clouds_env: dict[str, str]) -> str:
    config = agent_config(
        targets={"azure-openai": {}, "bedrock": {}},
        doors={
            "listen": DOOR,
            "secret_file": str(secret_file),
            "azure": {
                "targets": {RESOURCE: "azure-openai", "https://bedrock.example": "bedrock"},
                "client_id": clouds_env["AZURE_CLIENT_ID"],
            },
        },
        ops={"listen": OPS},
    )
    at = keep_agent(config).ready["listeners"][DOOR]
    return f"http://{at}/azure/token"


@pytest.fixture(scope="module")
def told(sdk_environment: dict[str, str], endpoint: str, secret_file: Path) -> dict[str, str]:
    return sdk_environment | {"IDENTITY_ENDPOINT": endpoint, "IDENTITY_HEADER": secret_file.read_text()}


def test_then_azure_openai(sdk: str, before: int, told: dict[str, str], ask: Ask, dev: Dev) -> None:
    answers = ask(sdk, told, "azure")
    assert set(answers) == CALLS
    who = f"You are the application {told['AZURE_CLIENT_ID']} of tenant {told['AZURE_TENANT_ID']}, by an assertion of default:azure-openai"
    for call, answer in answers.items():
        assert answer.startswith(who), (call, answer)
    assert len(dev.exchanges("azure-openai")) == before + 1, "the agent asks once for all that come"


def test_s36_wrong_secret_is_refused(sdk: str, told: dict[str, str], ask: Ask) -> None:
    for call in ("managed", "default, async"):
        answer = ask(sdk, told | {"IDENTITY_HEADER": told["IDENTITY_HEADER"][::-1]}, f"azure:{call}")[call]
        assert answer.startswith(("ClientAuthenticationError", "CredentialUnavailableError")), answer
        assert "the secret of this start is missing or wrong" in answer and told["IDENTITY_HEADER"] not in answer


def test_identity_that_is_not_at_the_door(sdk: str, told: dict[str, str], ask: Ask) -> None:
    other = "0d0e0f00-0000-4000-8000-00000000dead"
    answer = ask(sdk, told | {"AZURE_CLIENT_ID": other}, "azure:default")["default"]
    assert answer.startswith("ClientAuthenticationError") and "there is no such user-assigned identity at this door" in answer, answer


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        (QUERY, 200, "access_token"),
        (QUERY.replace("2019-08-01", "2017-09-01"), 400, "the api-version is 2019-08-01"),
        ("?api-version=2019-08-01", 400, "name a resource"),
        (QUERY + ".evil.example", 400, "no target is for this resource: list it in doors.azure.targets"),
        ("?api-version=2019-08-01&resource=https://bedrock.example", 403, "no bearer token: name another target"),
        (QUERY + f"&resource={RESOURCE}", 400, "a parameter is given once"),
    ],
)
def test_what_is_asked_for(told: dict[str, str], query: str, status: int, says: str) -> None:
    got, _, body = request(told["IDENTITY_ENDPOINT"] + query, {"X-IDENTITY-HEADER": told["IDENTITY_HEADER"]})
    assert got == status and says in body, (got, body if status != 200 else "")


def test_s36_only_who_is_here(told: dict[str, str]) -> None:
    url, own = told["IDENTITY_ENDPOINT"] + QUERY, told["IDENTITY_HEADER"]
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "none"}, {"Host": "evil.example"}):
        status, _, body = request(url, {"X-IDENTITY-HEADER": own} | headers)
        assert status == 403 and "access_token" not in body
    for headers in ({}, {"X-IDENTITY-HEADER": ""}, {"X-IDENTITY-HEADER": own + "x"}, {"Metadata": "true"}, {"Authorization": own}):
        status, _, body = request(url, headers)
        assert status == 401 and "access_token" not in body
