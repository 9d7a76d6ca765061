"""`cambio-agent exec` around one program with the SDKs of six clouds; `run --once`; the environment alone; and what other programs call
the agent for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from asking import SCRIPT
from house import Dev
from programs import Program, eventually

Ask = Callable[..., dict[str, Any]]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run_agent(agent_binary: Path, work: Path) -> Run:
    def run(environment: Mapping[str, str], *arguments: str, stdin: str = "", path: str = "") -> subprocess.CompletedProcess[str]:
        more = {"PATH": f"{path}:{environment['PATH']}"} if path else {}
        return subprocess.run(
            [str(agent_binary), *arguments], env={**environment, **more}, cwd=work, input=stdin, capture_output=True, text=True, timeout=90
        )

    return run


@pytest.fixture(scope="module")
def told(sdk_environment: dict[str, str], dev: Dev, token_file: Path) -> dict[str, str]:
    """A container's environment: where Cambio is, and who the pod is."""
    return sdk_environment | {"CAMBIO_URL": dev.url, "CAMBIO_TOKEN_FILE": str(token_file), "GOOGLE_CLOUD_PROJECT": "cambio-dev"}


@pytest.fixture(scope="module")
def watsonx(agent_config: Callable[..., Path], dev: Dev) -> Path:
    """IBM wants a second token, which has no variable."""
    return agent_config(targets={"watsonx": {"passthrough_file": str(dev.token_file(audience="iam"))}})


MODULES = ("aws", "google", "azure", "oci:genai", "ibm", "vault:gpt")


def check(answers: Mapping[str, str]) -> None:
    """Each SDK of MODULES reached its cloud as who it should be."""
    for call, says in {
        "sts": ":assumed-role/llm/cambio-",
        "bedrock": "source identity gateway",
        "vertex": "You are llm@cambio-dev.iam.gserviceaccount.com, by an assertion of default:vertex",
        "project": "cambio-dev",
        "managed": "by an assertion of default:azure-openai",
        "default": "by an assertion of default:azure-openai",
        "managed, async": "by an assertion of default:azure-openai",
        "default, async": "by an assertion of default:azure-openai",
        "genai": "You are default:oci-genai",
        "watsonx": "by system:serviceaccount:llm:gateway",
        "gpt": "You are default:gpt",
    }.items():
        assert says in answers[call], (call, answers[call])


def test_all_sdks_in_one_program(sdk: str, told: dict[str, str], watsonx: Path, run_agent: Run, python: Callable[[str], str]) -> None:
    """What would win over the agent is not handed on, and is told."""
    more = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "of-nobody", "NO_GCE_CHECK": "true"}
    done = run_agent(
        told | more, "exec", "--config", str(watsonx), "--aws", "bedrock", "--gcp", "vertex", "--azure", "azure-openai",
        "--oci", "oci-genai", "--ibm", "watsonx", "--vault", "gpt", "--", python(sdk), "-W", "ignore", str(SCRIPT), *MODULES,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout.splitlines()[-1]))
    for name in more:
        assert f"{name} is not handed on" in done.stderr and more["AWS_SECRET_ACCESS_KEY"] not in done.stderr


def test_environment_alone(sdk: str, told: dict[str, str], run_agent: Run, python: Callable[[str], str]) -> None:
    """As the entry point of one container: no file, no flag."""
    names = {"AWS": "bedrock", "AZURE": "azure-openai", "GCP": "vertex", "OCI": "oci-genai"}
    variables = {f"CAMBIO_{k}_TARGET": v for k, v in names.items()} | {"CAMBIO_VAULT_TARGETS": "gpt"}
    asked = [module for module in MODULES if module != "ibm"]
    done = run_agent(told | variables, "exec", "--", python(sdk), "-W", "ignore", str(SCRIPT), *asked)
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout.splitlines()[-1]) | {"watsonx": "by system:serviceaccount:llm:gateway"})


def test_variables_and_files(told: dict[str, str], run_agent: Run, tmp_path: Path) -> None:
    script = 'test -n "$OPENAI_API_KEY" && test "$OPENAI_API_KEY" = "$(cat "$1")" && test -n "$AWS_BEARER_TOKEN_BEDROCK" && echo alike'
    path = tmp_path / "gpt"
    done = run_agent(
        told, "exec", "--env", "OPENAI_API_KEY=gpt", "--env", "AWS_BEARER_TOKEN_BEDROCK=bedrock-key", "--file", f"{path}=gpt",
        "--", "sh", "-c", script, "sh", str(path),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "alike\n"), done.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 128 + 9),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
    ],
    ids=["its own", "killed", "ended", "absent", "no program"],
)
def test_exit_status(told: dict[str, str], run_agent: Run, command: list[str], status: int) -> None:
    assert run_agent(told, "exec", "--aws", "bedrock", "--", *command).returncode == status


_OBEDIENT = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: os.write(1, f"{signal.Signals(number).name}\\n".encode()))
print("listening", flush=True)
while True:
    signal.pause()
"""


def test_signals_are_the_commands(told: dict[str, str], agent_binary: Path, work: Path, logs: Path) -> None:
    """Also those that would end the agent: it stays until the command has ended, and the folder of its secrets goes with it."""
    folder = work / "exec-signals"
    folder.mkdir()
    command = [str(agent_binary), "exec", "--aws", "bedrock", "--", sys.executable, "-c", _OBEDIENT]
    program = Program("exec", logs / "exec-signals.log", command, told | {"XDG_RUNTIME_DIR": str(folder)}, work)
    try:
        program.until("the command runs", lambda: "listening" in program.text())
        assert list(folder.iterdir())
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            program.signal(signal.Signals[name])
            program.until(f"the command has {name}", lambda name=name: name in program.text().split())
        program.signal(signal.SIGQUIT)
        assert program.process.wait(20) == 128 + signal.SIGQUIT
    finally:
        if program.process.poll() is None:
            os.killpg(program.process.pid, signal.SIGKILL)
    eventually("the folder is gone", lambda: not list(folder.iterdir()))


def test_once_as_init_container(
    sdk: str,
    told: dict[str, str],
    agent_config: Callable[..., Path],
    run_agent: Run,
    tmp_path: Path,
    sdk_environment: dict[str, str],
    ask: Ask,
) -> None:
    """It writes all there is, and ends; the workload then needs no agent."""
    keys, principal = tmp_path / "aws.json", tmp_path / "oci"
    config = agent_config(
        targets={"bedrock": {}, "oci-genai": {}, "gpt": {}},
        files=[
            {"path": str(keys), "target": "bedrock", "format": "credential-process"},
            {"path": str(tmp_path / "gpt"), "target": "gpt"},
            {"path": str(tmp_path / "app.ini"), "template": '[app]\nkey = {{ token "gpt" }}\n', "mode": "0640"},
        ],
        doors={"oci": {"files": {"target": "oci-genai", "dir": str(principal)}}},
    )
    done = run_agent(told, "run", "--once", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "app.ini").read_text() == f"[app]\nkey = {(tmp_path / 'gpt').read_text()}\n"
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("gpt", "app.ini", "aws.json")] == [0o600, 0o640, 0o600]
    profiles = tmp_path / "config"
    profiles.write_text(f"[default]\ncredential_process = cat {keys}\n")
    environment = sdk_environment | {
        "AWS_CONFIG_FILE": str(profiles),
        "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
        "OCI_RESOURCE_PRINCIPAL_RPST": str(principal / "rpst"),
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": str(principal / "key.pem"),
        "OCI_RESOURCE_PRINCIPAL_REGION": (principal / "region").read_text(),
    }
    said = ask(sdk, environment, "aws:sts", "oci:genai")
    assert ":assumed-role/llm/cambio-" in said["sts"] and said["genai"].startswith("You are default:oci-genai"), said


def test_once_by_the_environment_alone(told: dict[str, str], run_agent: Run, tmp_path: Path) -> None:
    path = tmp_path / "gpt"
    done = run_agent(told | {"CAMBIO_TARGET": "gpt", "CAMBIO_TOKEN_OUTPUT_FILE": str(path)}, "run", "--once")
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600 and not path.read_text().endswith("\n")


def test_once_that_cannot_says_why(told: dict[str, str], run_agent: Run, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for target, url, status, says in (
        ("nothing", told["CAMBIO_URL"], 1, "invalid_target"),
        ("gpt", "http://127.0.0.1:1", 3, "127.0.0.1:1"),
    ):
        more = {"CAMBIO_URL": url, "CAMBIO_TARGET": target, "CAMBIO_TOKEN_OUTPUT_FILE": str(path)}
        done = run_agent(told | more, "run", "--once")
        assert done.returncode == status and says in done.stderr and not path.exists(), done.stderr


def test_kubectl(told: dict[str, str], run_agent: Run) -> None:
    info = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "spec": {"interactive": False}}
    done = run_agent(told | {"KUBERNETES_EXEC_INFO": json.dumps(info)}, "token", "gpt", "--format", "kubectl")
    answer = json.loads(done.stdout)
    assert answer["kind"] == "ExecCredential" and answer["apiVersion"] == info["apiVersion"]
    assert answer["status"]["token"] and answer["status"]["expirationTimestamp"].endswith("Z")
    beta = info | {"apiVersion": "client.authentication.k8s.io/v1alpha1"}
    done = run_agent(told | {"KUBERNETES_EXEC_INFO": json.dumps(beta)}, "token", "gpt", "--format", "kubectl")
    assert done.returncode == 1 and not done.stdout and "client.authentication.k8s.io/v1" in done.stderr


def test_docker(told: dict[str, str], run_agent: Run) -> None:
    helper = ("token", "gpt", "--format", "docker", "--host", "registry.example")
    done = run_agent(told, *helper, "get", stdin="registry.example\n")
    answer = json.loads(done.stdout)
    assert set(answer) == {"ServerURL", "Username", "Secret"} and answer["Username"] == "oauth2accesstoken" and answer["Secret"]
    other = run_agent(told, *helper, "get", stdin="https://evil.example")
    assert (other.returncode, other.stdout) == (1, "credentials not found in native keychain\n")
    assert run_agent(told, *helper, "store", stdin="{}").returncode == 1
    assert run_agent(told, *helper, "erase", stdin="registry.example").returncode == 0


def git(told: dict[str, str], agent: Path, home: Path, url: str) -> subprocess.CompletedProcess[str]:
    """What git itself learns of its helper for a URL."""
    settings = ["-c", "credential.helper=", "-c", f"credential.helper=!{agent} token gpt --format git --host git.example"]
    alone = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "false", "LC_ALL": "C"}
    return subprocess.run(
        ["git", *settings, "credential", "fill"],
        input=f"url={url}\n\n",
        env=told | alone,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=home,
    )


def test_git(told: dict[str, str], agent_binary: Path, tmp_path: Path) -> None:
    answer = dict(line.split("=", 1) for line in git(told, agent_binary, tmp_path, "https://git.example/org/repo").stdout.splitlines())
    assert answer["username"] == "x-access-token" and answer["password"] and answer["host"] == "git.example"
    for url in ("https://evil.example/org/repo", "http://git.example/org/repo", "https://git.example.evil.example/"):
        done = git(told, agent_binary, tmp_path, url)
        assert done.returncode != 0 and "password=" not in done.stdout, url


def test_the_environments_token(told: dict[str, str], run_agent: Run, token_file: Path) -> None:
    """Where no file can be mounted."""
    environment = {k: v for k, v in told.items() if k != "CAMBIO_TOKEN_FILE"} | {
        "CAMBIO_TOKEN": token_file.read_text(),
        "CAMBIO_TARGET": "gpt",
    }
    done = run_agent(environment, "token")
    assert done.returncode == 0 and done.stdout and not done.stdout.endswith("\n"), done.stderr
