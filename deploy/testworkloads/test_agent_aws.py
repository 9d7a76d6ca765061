"""boto3, unmodified, by what the agent offers: its door, a command, a file of variables."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from asking import DOOR, OPS, SCRIPT, request
from house import Agent, Dev
from programs import eventually

Ask = Callable[..., dict[str, Any]]
ARN = re.compile(r"arn:aws:sts::\d+:assumed-role/llm/cambio-\S+")


def check(answers: Mapping[str, Any]) -> None:
    """Both answers say who asked; Bedrock's also by whose exchange."""
    assert ARN.fullmatch(answers["sts"]), answers
    assert "assumed-role/llm/cambio-" in answers["bedrock"] and "source identity gateway" in answers["bedrock"], answers


@pytest.fixture(scope="module")
def secret_file(work: Path) -> Path:
    return work / "aws-door-secret"


@pytest.fixture(scope="module")
def files(work: Path) -> dict[str, Path]:
    return {kind: work / f"aws-{kind}" for kind in ("shell", "dotenv", "credential-process")}


@pytest.fixture(scope="module")
def agent(keep_agent: Callable[..., Agent], agent_config: Callable[..., Path], secret_file: Path, files: dict[str, Path]) -> Agent:
    config = agent_config(
        targets={"bedrock": {}, "gpt": {}},
        doors={"listen": DOOR, "secret_file": str(secret_file), "aws": {"target": "bedrock", "targets": ["gpt"]}},
        files=[{"path": str(path), "target": "bedrock", "format": kind} for kind, path in files.items()],
        ops={"listen": OPS},
    )
    return keep_agent(config)


@pytest.fixture(scope="module")
def door(agent: Agent) -> str:
    return f"http://{agent.ready['listeners'][DOOR]}/aws/"


@pytest.fixture(scope="module")
def told(sdk_environment: dict[str, str], door: str, secret_file: Path) -> dict[str, str]:
    more = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": door + "bedrock", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(secret_file)}
    return sdk_environment | more


def test_container_credentials(told: dict[str, str], ask: Ask) -> None:
    check(ask("newest", told, "aws"))


def test_container_credentials_by_a_secret_in_the_environment(sdk: str, told: dict[str, str], secret_file: Path, ask: Ask) -> None:
    """As boto3 needs it before 1.33, which knows no file of the secret."""
    environment = told | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": secret_file.read_text()}
    del environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
    check(ask(sdk, environment, "aws"))


def test_s36_wrong_secret_is_refused(sdk: str, told: dict[str, str], secret_file: Path, ask: Ask) -> None:
    own = secret_file.read_text()
    environment = told | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": own[::-1]}
    del environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
    answer = ask(sdk, environment, "aws:sts")["sts"]
    assert answer.startswith(("MetadataRetrievalError", "CredentialRetrievalError")), answer
    assert "401" in answer and "the secret of this start is missing or wrong" in answer and own not in answer


def test_target_that_is_none_of_aws(told: dict[str, str], door: str, ask: Ask) -> None:
    """boto3 shows what the agent says is to be changed."""
    answer = ask("newest", told | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": door + "gpt"}, "aws:sts")["sts"]
    assert "wrong_target" in answer and "403" in answer, answer


def test_credential_process(
    sdk: str, sdk_environment: dict[str, str], agent_binary: Path, agent_config: Callable[..., Path], work: Path, ask: Ask
) -> None:
    config, profiles = agent_config(targets={"bedrock": {"reason": "a profile"}}), work / f"aws-config-{sdk}"
    profiles.write_text(f"[profile llm]\ncredential_process = {agent_binary} credential-process bedrock --config {config}\n")
    check(ask(sdk, sdk_environment | {"AWS_CONFIG_FILE": str(profiles), "AWS_PROFILE": "llm"}, "aws"))


def test_credential_process_that_fails_says_why(
    sdk: str, sdk_environment: dict[str, str], agent_binary: Path, agent_config: Callable[..., Path], work: Path, ask: Ask
) -> None:
    profiles = work / f"aws-config-fails-{sdk}"
    profiles.write_text(f"[profile llm]\ncredential_process = {agent_binary} credential-process nothing --config {agent_config()}\n")
    answer = ask(sdk, sdk_environment | {"AWS_CONFIG_FILE": str(profiles), "AWS_PROFILE": "llm"}, "aws:sts")["sts"]
    assert answer.startswith("CredentialRetrievalError") and "custom-process" in answer and "cambio: invalid_target" in answer, answer


@pytest.mark.parametrize("kind", ["shell", "dotenv"])
def test_file_with_env_lines(
    sdk: str, kind: str, agent: Agent, files: dict[str, Path], sdk_environment: dict[str, str], python: Callable[[str], str], work: Path
) -> None:
    """As a container's entry point reads it."""
    assert agent.program.process.poll() is None
    eventually("the file is there", files[kind].exists)
    assert files[kind].stat().st_mode & 0o777 == 0o600
    done = subprocess.run(
        ["/bin/sh", "-euc", 'set -a; . "$1"; shift; exec "$@"', "sh", str(files[kind]), python(sdk), "-W", "ignore", str(SCRIPT), "aws"],
        env=sdk_environment, cwd=work, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "assumed-role/llm/cambio-" in done.stdout and "Error" not in done.stdout, done.stdout


def test_file_for_a_profile(sdk: str, agent: Agent, files: dict[str, Path], sdk_environment: dict[str, str], work: Path, ask: Ask) -> None:
    """A credential_process that starts nothing but cat: for where the agent's binary is not."""
    assert agent.program.process.poll() is None
    eventually("the file is there", files["credential-process"].exists)
    profiles = work / f"aws-config-file-{sdk}"
    profiles.write_text(f"[profile llm]\ncredential_process = cat {files['credential-process']}\n")
    check(ask(sdk, sdk_environment | {"AWS_CONFIG_FILE": str(profiles), "AWS_PROFILE": "llm"}, "aws"))


def test_s36_only_who_is_here(told: dict[str, str], door: str) -> None:
    own = Path(told["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text()
    for more in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-origin"}, {"Host": "evil.example"}):
        status, _, body = request(door + "bedrock", {"Authorization": own} | more)
        assert status == 403 and "AccessKeyId" not in body
    for wrong in (None, "", f"Bearer {own}", own + "x", own[:-1], own[::-1]):
        for path in ("bedrock", "other"):  # what there is, and what there is not
            status, _, body = request(door + path, {} if wrong is None else {"Authorization": wrong})
            assert status == 401 and "bedrock" not in body
    assert request(door + "other", {"Authorization": own})[0] == 404
    assert request(door + "bedrock", {"Authorization": own})[0] == 200


def test_many_programs_take_one_exchange(told: dict[str, str], dev: Dev, ask: Ask) -> None:
    check(ask("newest", told, "aws"))
    before = len(dev.exchanges("bedrock"))
    check(ask("newest", told, "aws"))
    assert len(dev.exchanges("bedrock")) == before
