"""IBM's SDK with its compute resource token at the agent; hvac and OpenBao's command line reading targets as they read Vault.

There is no Vault behind cambio dev, so the targets here are keys of OpenAI and of AWS; and one is a lease of a real OpenBao."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bao
import pytest
from asking import DOOR, OPS, request
from house import Agent, Dev, plain_environment

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def secret_file(work: Path) -> Path:
    return work / "ibm-vault-door-secret"


@pytest.fixture(scope="module")
def certificates(work: Path, dev: Dev) -> Iterator[None]:
    """The target `certificates`: each read is a new certificate of OpenBao's pki, with its lease."""
    server = bao.Bao(work)
    try:
        server.call("POST", "sys/mounts/pki", type="pki", config={"max_lease_ttl": "24h"})
        server.call("POST", "/".join(("pki", "root", "generate", "internal")), common_name="the tests", ttl="24h")
        server.call("POST", "pki/roles/app", allow_any_name=True, max_ttl="1h", generate_lease=True)
        server.call(
            "POST",
            "sys/policies/acl/app",
            policy="""
path "pki/issue/app" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
""",
        )
        server.call("POST", "sys/auth/jwt", type="jwt")
        federation = f"{dev.url}/federation"
        server.call("POST", "auth/jwt/config", jwks_url=f"{federation}/jwks", bound_issuer=federation)
        server.call(
            "POST", "auth/jwt/role/app", role_type="jwt", user_claim="sub", bound_audiences=[server.url], bound_claims_type="glob",
            bound_claims={"sub": "default:certificates:*"}, token_policies=["app"], token_ttl="15m", token_max_ttl="1h",
        )  # fmt: skip
        dev.policy(
            "certificates",
            f"""
targets:
  certificates:
    vault:
      address: {server.url}
      auth: {{role: app, audience: "{server.url}"}}
      kind: dynamic
      path: pki/issue/app
      method: write
      parameters: {{common_name: app.example}}
      ttl_parameter: ttl
allow:
  - name: gateway-has-certificates
    subjects: [{{trust: cluster, namespace: llm, service_account: gateway}}]
    targets: [certificates]
""",
            "certificates",
        )
        yield
    finally:
        server.program.stop()


@pytest.fixture(scope="module")
def door(keep_agent: Callable[..., Agent], agent_config: Callable[..., Path], secret_file: Path, dev: Dev, certificates: None) -> str:
    # IBM knows the pod itself: the second token is for IAM, as its trusted profile wants it.
    iam = dev.token_file(audience="iam")
    config = agent_config(
        targets={"watsonx": {"passthrough_file": str(iam)}, "gpt": {}, "bedrock": {}, "certificates": {}},
        doors={
            "listen": DOOR,
            "secret_file": str(secret_file),
            "ibm": {"target": "watsonx", "service": "WATSONX", "profile_id": "Profile-app"},
            "vault": {"targets": ["gpt"], "paths": {"aws/creds/bedrock": "bedrock", "pki/creds/app": "certificates"}},
        },
        ops={"listen": OPS},
    )
    return f"http://{keep_agent(config).ready['listeners'][DOOR]}"


@pytest.fixture(scope="module")
def before(dev: Dev) -> int:
    """How often others had the target; a test takes it ahead of the agent."""
    return len(dev.exchanges("watsonx"))


@pytest.fixture(scope="module")
def ibm(sdk_environment: dict[str, str], door: str, secret_file: Path) -> dict[str, str]:
    return sdk_environment | {
        "WATSONX_AUTH_TYPE": "container",
        "WATSONX_CR_TOKEN_FILENAME": str(secret_file),
        "WATSONX_IAM_PROFILE_ID": "Profile-app",
        "WATSONX_AUTH_URL": f"{door}/ibm",
    }


@pytest.fixture(scope="module")
def vault(sdk_environment: dict[str, str], door: str, secret_file: Path) -> dict[str, str]:
    more = {"VAULT_ADDR": door, "VAULT_TOKEN": secret_file.read_text(), "ASKS_VAULT_LEASE": "pki/creds/app", "ASKS_VAULT_VALUE": "gpt"}
    return sdk_environment | more


def test_ibm(sdk: str, before: int, ibm: dict[str, str], ask: Ask, dev: Dev) -> None:
    said = ask(sdk, ibm, "ibm")["watsonx"]
    assert said.startswith("You are iam-Profile-") and "by system:serviceaccount:llm:gateway" in said, said
    assert len(dev.exchanges("watsonx")) == before + 1, "the agent asks once for all that come"


def test_s36_ibm_with_another_token_is_refused(sdk: str, ibm: dict[str, str], token_file: Path, ask: Ask) -> None:
    said = ask(sdk, ibm | {"WATSONX_CR_TOKEN_FILENAME": str(token_file)}, "ibm")["watsonx"]
    assert said.startswith("ApiException") and "the secret of this start is missing or wrong" in said and "401" in said, said


def test_ibm_profile_that_is_not_at_the_door(sdk: str, ibm: dict[str, str], ask: Ask) -> None:
    said = ask(sdk, ibm | {"WATSONX_IAM_PROFILE_ID": "Profile-other"}, "ibm")["watsonx"]
    assert said.startswith("ApiException") and "there is no such profile at this door" in said, said


def test_s36_ibm_only_who_is_here(ibm: dict[str, str], secret_file: Path) -> None:
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:cr-token", "cr_token": secret_file.read_text(), "profile_id": "Profile-app"}
    kind, url = {"Content-Type": "application/x-www-form-urlencoded"}, ibm["WATSONX_AUTH_URL"] + "/identity/token"
    assert request(url, kind, "POST", urlencode(form))[0] == 200
    for more in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        status, _, body = request(url, kind | more, "POST", urlencode(form))
        assert status == 403 and "access_token" not in body
    for wrong in ({"cr_token": form["cr_token"] + "x"}, {"cr_token": ""}):
        assert request(url, kind, "POST", urlencode(form | wrong))[0] == 401
    assert request(url, kind, "POST", urlencode(form | {"grant_type": "urn:ibm:params:oauth:grant-type:apikey"}))[0] == 400
    assert request(f"{url}?{urlencode(form)}", kind)[0] == 405


def test_hvac(sdk: str, vault: dict[str, str], ask: Ask) -> None:
    said = ask(sdk, vault, "vault")
    for call in ("gpt", "gpt, kv 1"):
        assert said.pop(call).startswith("You are default:gpt"), call
    assert ":assumed-role/llm/cambio-" in said.pop("aws")
    leased, lives, renewable, fields = said.pop("lease")
    assert leased and lives and not renewable and {"certificate", "private_key", "issuing_ca"} <= set(fields)
    assert said.pop("authenticated") is True and said.pop("health") is False and said.pop("value") is True
    assert said.pop("unknown").startswith("InvalidPath")
    assert said.pop("write").startswith(("UnexpectedError", "VaultError", "InvalidRequest")) and not said


def test_s36_hvac_with_another_token_is_refused(sdk: str, vault: dict[str, str], ask: Ask) -> None:
    said = ask(sdk, vault | {"VAULT_TOKEN": vault["VAULT_TOKEN"][::-1]}, "vault:gpt", "vault:unknown", "vault:authenticated")
    assert said.pop("authenticated") is False
    assert all(answer.startswith("Forbidden") and "permission denied" in answer for answer in said.values()), said


def run_bao(environment: dict[str, str], *arguments: str, status: int = 0) -> str:
    """Who reads a secret shows nothing of it here."""
    done = subprocess.run([str(bao.binary()), *arguments], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_command_line(vault: dict[str, str], tmp_path: Path) -> None:
    environment = plain_environment() | {"BAO_ADDR": vault["VAULT_ADDR"], "BAO_TOKEN": vault["VAULT_TOKEN"], "HOME": str(tmp_path)}
    key = run_bao(environment, "kv", "get", "-field=value", "-mount=secret", "gpt")
    assert key and key == run_bao(environment, "read", "-field=value", "secret/gpt")
    assert json.loads(run_bao(environment, "kv", "get", "-format=json", "secret/gpt"))["data"]["data"] == {"value": key}
    leased = json.loads(run_bao(environment, "read", "-format=json", "pki/creds/app"))
    assert leased["lease_id"] and leased["lease_duration"] > 60 and not leased["renewable"]
    assert json.loads(run_bao(environment, "token", "lookup", "-format=json"))["data"]["display_name"] == "cambio-agent"
    assert "permission denied" in run_bao(environment | {"BAO_TOKEN": "x"}, "read", "secret/gpt", status=2)
