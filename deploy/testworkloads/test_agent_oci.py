"""Oracle's SDK, unmodified, as a resource principal by files, and as a pod on OKE; then GenAI. Its own key signs each time."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import OPS, Asking
from house import Agent, Dev
from programs import eventually

Ask = Callable[..., dict[str, Any]]
WHO = "You are default:oci-genai:k8s%3Acluster%3Allm%3Agateway."
# Oracle's SDK fixes the port, so the address is one of loopback's sixteen million that nobody has.
MUX = "127.18.7.36"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "principal"


@pytest.fixture
def principal(sdk_environment: dict[str, str], folder: Path) -> dict[str, str]:
    names = {"RPST": "rpst", "PRIVATE_PEM": "key.pem", "REGION": "region"}
    return sdk_environment | {f"OCI_RESOURCE_PRINCIPAL_{k}": str(folder / v) for k, v in names.items()} | {
        "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
        "OCI_RESOURCE_PRINCIPAL_REGION": "us-ashburn-1",
    }  # fmt: skip


def files(folder: Path, lifetime: str = "15m") -> dict[str, Any]:
    return {
        "targets": {"oci-genai": {"lifetime": lifetime}},
        "doors": {"oci": {"files": {"target": "oci-genai", "dir": str(folder)}}},
        "ops": {"listen": OPS},
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_of_a_resource_principal(
    sdk: str, start_agent: Callable[..., Agent], agent_config: Callable[..., Path], folder: Path, principal: dict[str, str], ask: Ask
) -> None:
    start_agent(agent_config(**files(folder)))
    eventually("the token is there", (folder / "rpst").exists)
    assert folder.stat().st_mode & 0o077 == 0
    assert {p.name: (p.stat().st_mode & 0o777, p.read_bytes().endswith(b"\n")) for p in folder.iterdir()} == {
        "key.pem": (0o600, True),
        "rpst": (0o600, False),
        "region": (0o600, False),
    }
    said = ask(sdk, principal, "oci")
    assert said == {"genai": WHO, "region": "us-ashburn-1", "token": digest(folder / "rpst")}


def test_token_is_replaced_while_the_program_runs(
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    folder: Path,
    principal: dict[str, str],
    asking: Callable[..., Asking],
) -> None:
    """The agent writes another token, for the key that there is. The SDK reads key and token again when OCI takes the earlier one
    no more, and repeats the request: the program notices nothing."""
    config = agent_config(**files(folder, "8s"))
    agent = start_agent(config)
    eventually("the token is there", (folder / "rpst").exists)
    key, first = digest(folder / "key.pem"), digest(folder / "rpst")
    programs = [asking(sdk, principal, "oci") for sdk in ("newest", "oldest")]
    for program in programs:
        assert program.ask("genai", "token") == {"genai": WHO, "token": first}
    config.write_text(config.read_text().replace("8s", "15m"))
    agent.program.signal(signal.SIGHUP)
    eventually("there is another token", lambda: digest(folder / "rpst") != first)
    assert digest(folder / "key.pem") == key
    for program in programs:
        answers: list[dict[str, Any]] = []

        def moved(program: Asking = program, answers: list[dict[str, Any]] = answers) -> bool:
            answers.append(program.ask("genai", "token"))
            return answers[-1]["token"] == digest(folder / "rpst")

        eventually("the program signs with it", moved)
        assert {answer["genai"] for answer in answers} == {WHO}


def test_program_goes_on_while_there_is_no_agent(
    sdk: str,
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    folder: Path,
    principal: dict[str, str],
    asking: Callable[..., Asking],
) -> None:
    """The files stay, and the key does over a new start."""
    config = agent_config(**files(folder))
    agent = start_agent(config)
    eventually("the token is there", (folder / "rpst").exists)
    key = digest(folder / "key.pem")
    program = asking(sdk, principal, "oci:genai")
    assert agent.stop() == 0
    assert program.ask() == {"genai": WHO}
    start_agent(config)
    assert program.ask() == {"genai": WHO}
    assert digest(folder / "key.pem") == key


def test_token_that_is_refused_is_read_anew(
    sdk: str,
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    folder: Path,
    principal: dict[str, str],
    asking: Callable[..., Asking],
) -> None:
    """A program that began with a token which OCI no longer takes: the SDK reads the files again, and finds what the agent wrote."""
    start_agent(agent_config(**files(folder)))
    eventually("the token is there", (folder / "rpst").exists)
    own = folder.parent / "dead"
    good = (folder / "rpst").read_text()
    head, body, signature = good.split(".")
    own.write_text(f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}")
    program = asking(sdk, principal | {"OCI_RESOURCE_PRINCIPAL_RPST": str(own)}, "oci")
    refused = program.ask("genai")["genai"]
    assert refused.startswith("ServiceError") and "NotAuthenticated" in refused and good not in refused
    own.write_text(good)
    eventually("the SDK has read the file", lambda: program.ask("genai")["genai"] == WHO)


@pytest.fixture
def mux(start_agent: Callable[..., Agent], agent_config: Callable[..., Path], token_file: Path, tmp_path: Path) -> Path:
    """An agent in the place of proxymux; the file of the CA that it wrote."""
    ca = tmp_path / "proxymux-ca.pem"
    settings = {
        "target": "oci-genai", "listen": f"{MUX}:12250", "ca_file": str(ca), "region": "us-ashburn-1", "token_file": str(token_file),
    }  # fmt: skip
    start_agent(agent_config(targets={"oci-genai": {}}, doors={"oci": {"proxymux": settings}}, ops={"listen": OPS}))
    eventually("the CA is there", ca.exists)
    return ca


@pytest.fixture
def pod(sdk_environment: dict[str, str], mux: Path, token_file: Path) -> dict[str, str]:
    return sdk_environment | {
        "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
        "OCI_RESOURCE_PRINCIPAL_REGION": "us-ashburn-1",
        "OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH": str(mux),
        "KUBERNETES_SERVICE_HOST": MUX,
        "ASKS_OKE_TOKEN_FILE": str(token_file),
        "NO_PROXY": f"127.0.0.1,localhost,{MUX}",
        "no_proxy": f"127.0.0.1,localhost,{MUX}",
    }


def test_pod_on_oke(sdk: str, pod: dict[str, str], ask: Ask, dev: Dev) -> None:
    before = len(dev.exchanges("oci-genai"))
    said = ask(sdk, pod, "oci:genai", "oci:region")
    assert said == {"genai": WHO, "region": "us-ashburn-1"}
    assert len(dev.exchanges("oci-genai")) == before + 1


def test_s36_pod_with_another_token_is_refused(sdk: str, pod: dict[str, str], ask: Ask, dev: Dev) -> None:
    before = len(dev.exchanges("oci-genai"))
    other = dev.token_file("agents", "assistant")
    answer = ask(sdk, pod | {"ASKS_OKE_TOKEN_FILE": str(other)}, "oci:genai")["genai"]
    assert answer.startswith("ServiceError") and "401" in answer and other.read_text() not in answer, answer
    assert len(dev.exchanges("oci-genai")) == before
