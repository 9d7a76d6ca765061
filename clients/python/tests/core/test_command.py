"""The command line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_cambio import Answer, FakeCambio, bad, good

from cambio_client.__main__ import main

AWS = "urn:cambio:token-type:aws-credentials"
KEYS = {"Version": 1, "AccessKeyId": "ASIA", "SecretAccessKey": "vended-" + "key", "SessionToken": "a b$c"}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    cambio: FakeCambio, own: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command line, with a token in a file, and gives its status and what it printed."""
    (tmp_path / "token").write_text(own)
    monkeypatch.setenv("CAMBIO_URL", cambio.url)
    monkeypatch.setenv("CAMBIO_TOKEN_FILE", str(tmp_path / "token"))

    def do(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(arguments)
        except SystemExit as end:  # as argparse ends, on wrong usage and on --help
            status = end.code if isinstance(end.code, int) else 1
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return do


def aws(**changes: Any) -> Answer:
    return good(json.dumps({**KEYS, **changes}), issued_token_type=AWS, token_type="N_A")


def test_a_token(run: Run, cambio: FakeCambio) -> None:
    assert run("token", "t") == (0, "vended-secret-1\n", "")
    asked = ("--resource", "https://r", "--scope", "a", "--scope", "b", "--lifetime", "60", "--reason", "why")
    assert run("token", *asked)[0] == 0
    sent = {k: v for k, v in cambio.forms[1].items() if not k.startswith(("subject", "grant"))}
    assert sent == {"resource": "https://r", "scope": "a b", "requested_lifetime": "60", "reason": "why"}


def test_all_of_a_token(run: Run) -> None:
    status, out, _ = run("token", "t", "--output", "json")
    known = json.loads(out)
    assert (status, known["access_token"], known["scope"]) == (0, "vended-secret-1", "tools.read")
    assert known["exchange_id"] == "exchange-0"
    assert known["expires_at"].endswith("Z")


@pytest.mark.parametrize(
    ("answer", "arguments", "variables"),
    [
        (good("a b'c"), (), {"CAMBIO_TOKEN": "a b'c"}),
        (good("x"), ("--variable", "GITHUB_TOKEN"), {"GITHUB_TOKEN": "x"}),
        (good("k", issued_token_type="urn:cambio:token-type:bedrock-api-key"), (), {"AWS_BEARER_TOKEN_BEDROCK": "k"}),
        (
            aws(),
            (),
            {"AWS_ACCESS_KEY_ID": "ASIA", "AWS_SECRET_ACCESS_KEY": "vended-" + "key", "AWS_SESSION_TOKEN": "a b$c"},
        ),
    ],
)
def test_variables(
    run: Run, cambio: FakeCambio, answer: Answer, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    cambio.answers.append(answer)
    status, out, _ = run("token", "t", "--output", "env", *arguments)
    words = [word.split("=", 1) for line in out.splitlines() for word in shlex.split(line)]
    assert (status, {name: value for name, value in words}) == (0, variables)  # noqa: C416


def test_a_credential_process(run: Run, cambio: FakeCambio) -> None:
    cambio.answers.append(aws(Expiration="1999-01-01T00:00:00Z", More="x"))
    status, out, err = run("credential-process", "bedrock")
    printed = json.loads(out)
    assert (status, err) == (0, "")
    assert printed.pop("Expiration") > "2020"  # by this machine's clock
    assert printed == KEYS


@pytest.mark.parametrize(
    ("answers", "arguments", "status", "says"),
    [
        ([bad(403, "access_denied", "no rule allows it")], ("token", "t"), 1, "access_denied: no rule allows it"),
        ([bad(400, "invalid_target")] * 2, ("token", "t"), 1, "exchange-of-refusal"),
        ([aws(SecretAccessKey="")], ("credential-process", "t"), 1, "no JSON object of AWS credentials"),
        ([good("{", issued_token_type=AWS)], ("credential-process", "t"), 1, "no JSON object of AWS credentials"),
        ([good("x")], ("credential-process", "t"), 2, "name a target of AWS's"),
        ([], (), 2, "usage"),
        ([], ("tokens",), 2, "invalid choice"),
        ([], ("token", "t", "--output", "yaml"), 2, "invalid choice"),
        ([], ("token", "t", "--lifetime", "soon"), 2, "invalid int"),
        ([], ("token", "t", "--url", "http://cambio.example"), 2, "https"),
        ([], ("token", "t", "--ca-file", "/nonexistent"), 2, "CA file"),
        ([], ("token", "t", "--token-file", "/nonexistent"), 3, "mount the service account token"),
        ([], ("token", "t", "--url", "http://127.0.0.1:1", "--timeout", "0.01"), 3, "no answer from"),
        ([bad(503, "temporarily_unavailable", Retry_After="60")], ("token", "t"), 3, "temporarily_unavailable"),
    ],
)
def test_statuses(
    run: Run, cambio: FakeCambio, answers: list[Answer], arguments: tuple[str, ...], status: int, says: str
) -> None:
    cambio.answers.extend(answers)
    got, out, err = run(*arguments)
    assert (got, out) == (status, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [("--help",), ("token", "--help"), ("credential-process", "--help")])
def test_help(run: Run, arguments: tuple[str, ...]) -> None:
    status, out, _ = run(*arguments)
    assert status == 0
    for text in ("examples:", "exit status:", "CAMBIO_TOKEN_FILE", "credential_process ="):
        assert text in out


def test_no_argument_takes_a_secret(run: Run) -> None:
    """What stands in argv is seen by everybody on the machine."""
    for command in ("token", "credential-process"):
        _, out, _ = run(command, "--help")
        options = {word.strip("[],") for word in out.split() if word.strip("[").startswith("--")}
        assert options & {"--token-file"}
        assert not options & {"--token", "--secret", "--client-secret", "--password", "--subject-token"}


@pytest.fixture
def program(cambio: FakeCambio, own: str, tmp_path: Path) -> Callable[[int], tuple[int, bytes, bytes]]:
    """Runs the module as a program, with its output where it is told."""
    (tmp_path / "token").write_text(own)
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
        "CAMBIO_URL": cambio.url,
        "CAMBIO_TOKEN_FILE": str(tmp_path / "token"),
    }

    def run(stdout: int) -> tuple[int, bytes, bytes]:
        line = [sys.executable, "-m", "cambio_client", "token", "t"]
        done = subprocess.run(line, env=env, stdout=stdout, stderr=subprocess.PIPE, timeout=30, check=False)
        return done.returncode, done.stdout or b"", done.stderr

    return run


def test_the_module_is_a_program(program: Callable[[int], tuple[int, bytes, bytes]]) -> None:
    assert program(subprocess.PIPE) == (0, b"vended-secret-1\n", b"")


def test_a_pipe_that_nobody_reads(program: Callable[[int], tuple[int, bytes, bytes]]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert program(write) == (1, b"", b"")
    finally:
        os.close(write)
