"""Each Go program of the client's README is built as it stands, and run against cambio dev."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from house import ROOT, Dev, write_secret

CLIENT = ROOT / "clients/go"
_BLOCK = re.compile(r"^## (?P<heading>[^\n]*)\n(?:(?!^## ).)*?^```go\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)

# What each program says when it reached what it is for.
ANSWERS = {
    "Any HTTP API": "You are default:gpt",
    "AWS": ":assumed-role/llm/cambio-",
    "Azure": "good until 2",
    "Google Cloud": "You are llm@cambio-dev.iam.gserviceaccount.com",
    "OCI": "200",
    "For a person, and by another identity": "[tools.read] 01",
}


def programs() -> dict[str, str]:
    return {m["heading"]: m["source"] for m in _BLOCK.finditer((CLIENT / "README.md").read_text())}


@pytest.fixture(scope="module")
def module(work: Path) -> Path:
    """A user's module, whose client is the one in this tree."""
    folder = work / "readme-go"
    folder.mkdir()
    text = (CLIENT / "go.mod").read_text()
    name = "github.com/cambio-sts/cambio/clients/go"
    text = text.replace(f"module {name}", "module example.com/workload")
    (folder / "go.mod").write_text(f"{text}\nrequire {name} v0.0.0\nreplace {name} => {CLIENT}\n")
    shutil.copy(CLIENT / "go.sum", folder / "go.sum")
    return folder


def test_no_program_is_overlooked() -> None:
    text = (CLIENT / "README.md").read_text()
    assert sorted(programs()) == sorted(ANSWERS)
    assert len(programs()) == text.count("```go\n")


@pytest.mark.parametrize("heading", sorted(ANSWERS))
def test_program_runs(heading: str, module: Path, dev: Dev, environment: dict[str, str], work: Path) -> None:
    folder = module / re.sub(r"\W+", "-", heading.lower())
    folder.mkdir()
    (folder / "main.go").write_text(programs()[heading])
    built = subprocess.run(
        ["go", "build", "-o", str(folder / "program"), "."], cwd=folder, capture_output=True, text=True, timeout=300, env=dict(os.environ)
    )
    assert built.returncode == 0, built.stderr
    person = write_secret(work / "readme-go-person.jwt", dev.user_token("ada", "engineering"))
    agent = write_secret(work / "readme-go-agent.jwt", dev.token("agents", "assistant"))
    more = {"PERSON_TOKEN_FILE": str(person), "AGENT_TOKEN_FILE": str(agent)}
    done = subprocess.run([str(folder / "program")], env=environment | more, cwd=work, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and ANSWERS[heading] in done.stdout, done.stdout + done.stderr
