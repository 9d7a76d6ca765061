"""The running cambio dev, and what a workload beside it has."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from programs import Program, eventually

ROOT = Path(__file__).resolve().parents[2]
_STEERING = (
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "OCI_",
    "IBM_",
    "ANTHROPIC_",
    "OPENAI_",
    "CAMBIO_",
    "VAULT_",
    "IDENTITY_",
    "GCE_",
    "LITELLM_",
    "SSL_",
    "REQUESTS_",
    "CURL_",
    "PYTHON",
)


def plain_environment() -> dict[str, str]:
    """This one's, without what steers the SDKs, and with no way out of this machine: whatever goes elsewhere than to
    loopback fails at once."""
    e = {k: v for k, v in os.environ.items() if not k.startswith(_STEERING) and not k.lower().endswith("_proxy")}
    nowhere = "http://127.0.0.1:1"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        e[name] = nowhere
    for name in ("NO_PROXY", "no_proxy"):
        e[name] = "127.0.0.1,localhost"
    # What would be asked outside otherwise.
    return e | {
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Dev:
    """A cambio dev with every cloud played beside it."""

    def __init__(self, binary: Path, work: Path, logs: Path) -> None:
        self.binary, self.work, self.data = binary, work, work / "data"
        ready = work / "dev-ready.json"
        self.program = Program(
            "dev",
            logs / "dev.log",
            [
                str(binary),
                "dev",
                "--data",
                str(self.data),
                "--listen",
                "127.0.0.1:0",
                "--ops-listen",
                "127.0.0.1:0",
                "--ready-file",
                str(ready),
            ],
            plain_environment(),
            work,
        )
        self.program.until("is ready", ready.exists)
        self.ready: dict[str, Any] = json.loads(ready.read_text())
        self.url: str = self.ready["url"]
        self.ca_file: str = self.ready["ca_file"]
        """The authority of the clouds' certificates; Cambio itself speaks plain http here."""
        self.clouds: dict[str, str] = self.ready["clouds"]
        """Where each cloud is: aws, azure, gcp, oci, ibm, anthropic, openai."""
        self.policy_dir = Path(self.ready["policy_dir"])
        self._serial = itertools.count(1)

    def token(self, namespace: str = "llm", service_account: str = "gateway", audience: str = "cambio") -> str:
        """A new token of a service account of the make-believe cluster, good for an hour."""
        return self._run(
            "token", "--trust", "cluster", "--namespace", namespace, "--service-account", service_account, "--audience", audience
        )

    def user_token(self, user: str, *groups: str, audience: str = "cambio") -> str:
        """A new token of a person of the make-believe company."""
        more = [argument for group in groups for argument in ("--group", group)]
        return self._run("token", "--trust", "corp", "--user", user, "--audience", audience, *more)

    def token_file(self, namespace: str = "llm", service_account: str = "gateway", audience: str = "cambio") -> Path:
        """A new file with such a token, as kubelet mounts it."""
        path = self.work / f"token-{next(self._serial)}.jwt"
        return write_secret(path, self.token(namespace, service_account, audience))

    def policy(self, name: str, text: str, target: str, token: str | None = None) -> None:
        """Puts one more file into the policy, and waits until the target can be had by whoever has the token."""
        (self.policy_dir / f"{name}.yaml").write_text(text)
        held = write_secret(self.work / f"policy-{name}.jwt", token or self.token())
        command = [
            str(self.binary),
            "exchange",
            "--data",
            str(self.data),
            "--target",
            target,
            "--subject-token-file",
            str(held),
            "--output",
            "token",
        ]
        eventually(
            f"the policy {name} is in force",
            lambda: subprocess.run(command, capture_output=True, env=plain_environment(), timeout=30).returncode == 0,
        )

    def exchanges(self, target: str) -> list[dict[str, Any]]:
        """What the ledger has of exchanges for a target, newest first."""
        lines = self._run("audit", "list", "--limit", "0", "--output", "json", "--filter", f'target = "{target}"')
        return [json.loads(line) for line in lines.splitlines()]

    def clouds_env(self) -> dict[str, str]:
        """What dev tells the vendors' SDKs in clouds.env: where each cloud is, and whom to trust."""
        text = (self.data / "clouds.env").read_text()
        pairs = (shlex.split(line)[1].partition("=") for line in text.splitlines() if line.startswith("export "))
        return {name: value for name, _, value in pairs}

    def _run(self, command: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.binary), *command.split(), *arguments, "--data", str(self.data)],
            check=True,
            capture_output=True,
            text=True,
            env=plain_environment(),
            timeout=30,
        )
        return done.stdout.strip()


class Agent:
    """A cambio-agent that runs."""

    def __init__(self, program: Program, ready: Mapping[str, Any]) -> None:
        self.program = program
        self.ready = ready
        """What it wrote into its ready file."""

    def stop(self) -> int:
        """Ends it by SIGTERM; its exit status."""
        return self.program.stop()


def build(package: str, module: Path, to: Path, *flags: str) -> Path:
    """Builds a Go program."""
    done = subprocess.run(["go", "build", *flags, "-o", str(to), package], cwd=module, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"go build {package}:\n{done.stderr}")
    return to


def write_secret(path: Path, text: str) -> Path:
    """Writes a file for this user alone, in one step, as a rotation does."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(text)
    beside.rename(path)
    return path
