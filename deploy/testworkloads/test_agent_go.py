"""The vendors' SDKs for Go, unmodified and by their environment alone, newest and oldest: gosdks, as a command of
`cambio-agent exec`; and beside `cambio-agent run` where the environment is a pod's own to write."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import versions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from house import Agent, Dev, build, write_secret
from programs import eventually

OCI = "default:oci-genai:k8s%3Acluster%3Allm%3Agateway"
OPS = "127.0.0.2:0"  # free, and not the address of a door


class Done(NamedTuple):
    status: int
    said: str  # by the SDK; the agent speaks on standard error


class Exec(NamedTuple):
    flag: str  # of cambio-agent exec
    target: str
    sees: str  # what the stand-in says of who asks


SDKS = {
    "aws": Exec("--aws", "bedrock", "arn:aws:sts::123456789012:assumed-role/llm/cambio-"),
    "azure": Exec("--azure", "azure-openai", "by an assertion of default:azure-openai."),
    "google": Exec("--gcp", "vertex", "In cambio-dev: {"),
    "oci-files": Exec("--oci", "oci-genai", OCI),
    "ibm": Exec("--ibm", "watsonx", " by system:serviceaccount:llm:gateway"),
    "vault": Exec("--vault", "gpt", "You are default:gpt"),
}

# What an SDK says when its secret, or what stands for one, is another's: a variable that replaces what exec set, and
# the words of the SDK and of whoever refuses.
WRONG = {
    "aws": ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "failed to load credentials, unauthorized: the secret of this start is "),
    "azure": ("IDENTITY_HEADER", "RESPONSE 401"),
    "oci-files": ("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", "Error Code: NotAuthenticated"),
    "ibm": ("WATSONX_CR_TOKEN_FILENAME", "IAM 'get token' error, status code 401"),
    "vault": ("VAULT_TOKEN", "permission denied"),
}  # fmt: skip

# The same where the policy does not let the workload have the target.
DENIED = {
    "aws": "failed to load credentials, invalid_target: cambio: invalid_target",
    "azure": "RESPONSE 403",
    "google": "compute: Received 403 `cambio: invalid_target",
    "ibm": "IAM 'get token' error, status code 403",
    "vault": "error encountered while reading secret at secret/data/gpt",
}


@pytest.fixture(scope="session")
def gosdks(work: Path) -> Callable[[str], Path]:
    built: dict[str, Path] = {}

    def program(which: str) -> Path:
        if which not in built:
            built[which] = build(".", versions.GO, work / f"gosdks-{which}", f"-modfile={versions.MODS[which]}")
        return built[which]

    return program


@pytest.fixture
def program(sdk: str, gosdks: Callable[[str], Path]) -> Path:
    return gosdks(sdk)


@pytest.fixture(scope="session")
def run_program(sdk_environment: dict[str, str], work: Path, logs: Path) -> Callable[..., Done]:
    own = sdk_environment | {"HOME": str(work / "none"), "GOOGLE_CLOUD_PROJECT": "cambio-dev"}

    def run(command: list[str], more: Mapping[str, str] | None = None) -> Done:
        done = subprocess.run(
            command, env=own | dict(more or {}), cwd=work, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
        )
        with (logs / "gosdks.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return Done(done.returncode, done.stdout)

    return run


@pytest.fixture(scope="session")
def exec_config(agent_config: Callable[..., Path], dev: Dev, work: Path) -> Path:
    """Where Cambio is, and who asks. What exec opens is said by its flags."""
    iam = write_secret(work / "gosdks-iam.jwt", dev.token(audience="iam"))  # IBM takes no other
    return agent_config(targets={"watsonx": {"passthrough_file": str(iam)}})


@pytest.fixture(scope="session")
def run_exec(agent_binary: Path, exec_config: Path, run_program: Callable[..., Done]) -> Callable[..., Done]:
    def run(flags: list[str], *command: str, config: Path = exec_config) -> Done:
        return run_program([str(agent_binary), "exec", "--config", str(config), *flags, "--", *command])

    return run


@pytest.fixture(scope="session")
def others(work: Path) -> dict[str, str]:
    """For each variable of WRONG what is as good as what exec sets, and another's."""
    secret = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=43))
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    secret_file, pem_file = write_secret(work / "gosdks-other", secret), write_secret(work / "gosdks-other.pem", pem)
    return {
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(secret_file),
        "WATSONX_CR_TOKEN_FILENAME": str(secret_file),
        "IDENTITY_HEADER": secret,
        "VAULT_TOKEN": secret,
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": str(pem_file),
    }


def test_program_has_the_versions_of_its_module(sdk: str, program: Path) -> None:
    wanted = versions.go(sdk)
    assert {path: version for path, version in versions.linked(program).items() if path in wanted} == wanted


@pytest.mark.parametrize("name", SDKS)
def test_sdk_under_exec(name: str, program: Path, run_exec: Callable[..., Done], dev: Dev) -> None:
    flag, target, sees = SDKS[name]
    before = len(dev.exchanges(target))
    done = run_exec([flag, target], str(program), name)
    assert done.status == 0 and sees in done.said, done.said
    if name == "google":
        assert "You are llm@cambio-dev.iam.gserviceaccount.com, by an assertion of default:vertex." in done.said, done.said
    assert len(dev.exchanges(target)) == before + 1


@pytest.mark.parametrize("name", WRONG)
def test_s36_another_secret_under_exec(name: str, program: Path, run_exec: Callable[..., Done], others: dict[str, str]) -> None:
    variable, says = WRONG[name]
    done = run_exec([SDKS[name].flag, SDKS[name].target], "env", f"{variable}={others[variable]}", str(program), name)
    assert done.status == 1 and says in done.said, done.said


def test_s36_another_uid_at_the_metadata_server(program: Path, run_exec: Callable[..., Done], agent_config: Callable[..., Path]) -> None:
    """Google's SDKs bring no secret: it is whose process asks that counts."""
    config = agent_config(targets={"vertex": {}}, doors={"gce": {"target": "vertex", "project": "cambio-dev", "uids": [4_000_000_001]}})
    done = run_exec([], str(program), "google", config=config)
    assert done.status == 1 and "is not among those that may ask: list it in doors.gce.uids" in done.said, done.said


@pytest.mark.parametrize("name", DENIED)
def test_target_that_is_not_allowed_under_exec(
    name: str, program: Path, run_exec: Callable[..., Done], agent_config: Callable[..., Path]
) -> None:
    config = agent_config(targets={SDKS[name].target: {"audience": "github-mcp"}})
    done = run_exec([SDKS[name].flag, SDKS[name].target], str(program), name, config=config)
    assert done.status == 1 and DENIED[name] in done.said, done.said
    assert "ask for one target that you may use" in done.said and "(exchange " in done.said, done.said


def test_command_is_not_started_without_the_files_of_oci(program: Path, run_exec: Callable[..., Done]) -> None:
    """SDKs read files once, at their start: what cannot be there then is told before."""
    assert run_exec(["--oci", "github-mcp"], str(program), "oci-files") == Done(1, "")


def test_credential_process(
    sdk: str, program: Path, agent_binary: Path, exec_config: Path, run_program: Callable[..., Done], work: Path
) -> None:
    profiles = work / f"gosdks-aws-config-{sdk}"
    own = f"credential_process = {agent_binary} credential-process --config {exec_config}"
    profiles.write_text(f"[profile llm]\n{own} bedrock\n[profile none]\n{own} github-mcp\n")
    done = run_program([str(program), "credential-process"], {"AWS_CONFIG_FILE": str(profiles), "AWS_PROFILE": "llm"})
    assert done.status == 0 and done.said.startswith(SDKS["aws"].sees), done.said
    done = run_program([str(program), "credential-process"], {"AWS_CONFIG_FILE": str(profiles), "AWS_PROFILE": "none"})
    assert done.status == 1 and "process provider error: error in credential_process: exit status 1" in done.said, done.said


@pytest.fixture(scope="module")
def oke(keep_agent: Callable[..., Agent], agent_config: Callable[..., Path], token_file: Path, work: Path) -> dict[str, str]:
    """What a pod's own manifest says, beside an agent that knows the pod's token. Oracle's SDK fixes the port, and
    loopback has many addresses: one that nobody else has."""
    host = f"127.98.{random.randrange(256)}.{random.randrange(1, 255)}"
    ca_file = work / "gosdks-oke-ca.pem"
    proxymux = {
        "target": "oci-genai", "listen": f"{host}:12250", "ca_file": str(ca_file), "region": "us-ashburn-1", "token_file": str(token_file),
    }  # fmt: skip
    doors = {"secret_file": str(work / "gosdks-oke-secret"), "oci": {"proxymux": proxymux}}
    keep_agent(agent_config(targets={"oci-genai": {}}, doors=doors, ops={"listen": OPS}))
    eventually("the CA is there", ca_file.exists)
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
        "OCI_RESOURCE_PRINCIPAL_REGION": "us-ashburn-1",
        "OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH": str(ca_file),
        "SERVICE_ACCOUNT_TOKEN_FILE": str(token_file),
    }


def test_workload_identity_of_oke(program: Path, oke: dict[str, str], run_program: Callable[..., Done]) -> None:
    assert run_program([str(program), "oci-oke"], oke) == Done(0, OCI + "\n")


def test_s36_token_of_another_pod(sdk: str, program: Path, oke: dict[str, str], run_program: Callable[..., Done], dev: Dev) -> None:
    done = run_program([str(program), "oci-oke"], oke | {"SERVICE_ACCOUNT_TOKEN_FILE": str(dev.token_file(service_account="other"))})
    assert done.status == 1 and "Status: 401" in done.said, done.said
    # The oldest tells what it was told before it has read it.
    assert ("the secret of this start is missing or wrong" in done.said) == (sdk == "newest"), done.said
