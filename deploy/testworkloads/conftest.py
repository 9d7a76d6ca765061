"""Workloads, as people write them, against one real `cambio dev` for the whole run.

Fixtures, of which a test takes what it needs; nothing is built or started before:

  dev             house.Dev: url, clouds, ca_file; token(), token_file(), policy(), exchanges()
  token_file      a file with the token of the workload llm/gateway, which may use every model
  clouds_env      what dev's clouds.env says: where each cloud is, and whom to trust
  environment     a whole environment for a workload: nothing of this machine's that steers an
                  SDK, no way out of it, clouds_env, CAMBIO_URL and CAMBIO_TOKEN_FILE
  python          python("newest"), python("oldest"), python("litellm"): the interpreter with
                  the SDKs of requirements.txt, requirements-oldest.txt, requirements-litellm.txt
  sdk             "newest", then "oldest": a test that takes it runs with both
  run_python      run_python("newest", file or source, *arguments, environment=…): what it prints;
                  the import path has clients/python. A status other than 0 fails the test
  agent_binary    cambio-agent, as `go build` makes it
  agent_config    agent_config(targets={…}, doors={…}, …): the path of a configuration file;
                  url and identity are those of dev and token_file if they are not given,
                  and ops listens at any port
  start_agent     start_agent(path, environment=…): `cambio-agent run`, once it is ready, as
                  house.Agent; it is stopped after the test, and has to end with status 0
  keep_agent      the same, and it is stopped after the file's last test
  authority       authority.Authority: certifies what the tests serve on loopback
  sdk_environment the environment of a workload that knows nothing of Cambio: no CAMBIO_… there
  ask             ask("newest", environment, "aws", …): what the SDKs of these modules of
                  scripts/asks are told, by call
  asking          asking("newest", environment, "aws", …): a program that goes on, as
                  asking.Asking; it is ended after the test

What the programs print is in logs/ of the run's work folder, and is searched for secrets at
the end, as is what the tests print: run.sh. Nothing is skipped: what cannot run fails.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from asking import SCRIPT, Asking
from authority import Authority
from house import ROOT, Agent, Dev, build, plain_environment
from programs import Program

_names = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", "a test that is skipped shows nothing: let it run, or take it away"
    return report


@pytest.fixture(scope="session")
def work() -> Path:
    path = Path(os.environ.get("WORKLOADS_WORK") or tempfile.mkdtemp(prefix="workloads-"))
    (path / "logs").mkdir(mode=0o700)
    return path


@pytest.fixture(scope="session")
def logs(work: Path) -> Path:
    return work / "logs"


@pytest.fixture(scope="session")
def dev(work: Path, logs: Path) -> Iterator[Dev]:
    running = Dev(build("./cmd/cambio", ROOT, work / "cambio"), work, logs)
    yield running
    assert running.program.stop() == 0, running.program.text()


@pytest.fixture(scope="session")
def token_file(dev: Dev) -> Path:
    return dev.token_file()


@pytest.fixture(scope="session")
def clouds_env(dev: Dev) -> dict[str, str]:
    return dev.clouds_env()


@pytest.fixture(scope="session")
def environment(dev: Dev, token_file: Path, clouds_env: dict[str, str]) -> dict[str, str]:
    return plain_environment() | clouds_env | {"CAMBIO_URL": dev.url, "CAMBIO_TOKEN_FILE": str(token_file)}


@pytest.fixture(scope="session")
def python() -> Callable[[str], str]:
    return lambda which: os.environ["WORKLOADS_" + which.upper()]


@pytest.fixture(params=["newest", "oldest"])
def sdk(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def run_python(python: Callable[[str], str], environment: dict[str, str], work: Path, logs: Path) -> Callable[..., str]:
    def run(which: str, program: Path | str, *arguments: str, environment: Mapping[str, str] = environment, seconds: float = 60) -> str:
        start = [str(program)] if isinstance(program, Path) else ["-c", program]
        done = subprocess.run(
            [python(which), "-W", "ignore", *start, *arguments],
            env={**environment, "PYTHONPATH": str(ROOT / "clients/python/src")},
            cwd=work,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
        (logs / f"python-{next(_names)}.log").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def agent_binary(work: Path) -> Path:
    return build("./cmd/cambio-agent", ROOT / "clients/go", work / "cambio-agent")


@pytest.fixture(scope="session")
def agent_config(dev: Dev, token_file: Path, work: Path) -> Callable[..., Path]:
    def write(**settings: object) -> Path:
        ops = {"listen": "localhost:0"}  # another text than that of doors: each address is bound once
        settings = {"url": dev.url, "identity": {"file": str(token_file)}, "ops": ops} | settings
        path = work / f"agent-{next(_names)}.yaml"
        apart = json.loads(json.dumps(settings))  # what is there twice is written twice: the agent takes no aliases
        path.write_text(yaml.safe_dump(apart, sort_keys=False))
        return path

    return write


def _starting(binary: Path, work: Path, logs: Path) -> Iterator[Callable[..., Agent]]:
    running: list[Agent] = []

    def start(config: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Agent:
        name = f"agent-{next(_names)}"
        ready = work / f"{name}-ready.json"
        program = Program(
            name,
            logs / f"{name}.log",
            [str(binary), "run", "--config", str(config), "--ready-file", str(ready), *arguments],
            environment or plain_environment(),
            work,
        )
        try:
            program.until("is ready", ready.exists)
        except AssertionError:
            program.stop()
            raise
        running.append(Agent(program, json.loads(ready.read_text())))
        return running[-1]

    yield start
    statuses = [agent.stop() for agent in running]
    assert statuses == [0] * len(running), "\n".join(agent.program.text() for agent in running)


@pytest.fixture
def start_agent(agent_binary: Path, work: Path, logs: Path) -> Iterator[Callable[..., Agent]]:
    yield from _starting(agent_binary, work, logs)


@pytest.fixture(scope="module")
def keep_agent(agent_binary: Path, work: Path, logs: Path) -> Iterator[Callable[..., Agent]]:
    yield from _starting(agent_binary, work, logs)


@pytest.fixture(scope="session")
def authority(work: Path) -> Authority:
    return Authority(work / "authority")


@pytest.fixture(scope="session")
def sdk_environment(clouds_env: dict[str, str], work: Path) -> dict[str, str]:
    none = str(work / "none")  # what a person has at home is not asked
    e = plain_environment() | clouds_env | {"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "CLOUDSDK_CONFIG": none}
    del e["NO_GCE_CHECK"]
    return e


@pytest.fixture(scope="session")
def ask(run_python: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    def answers(which: str, environment: Mapping[str, str], *modules: str) -> dict[str, Any]:
        return json.loads(run_python(which, SCRIPT, *modules, environment=environment).splitlines()[-1])

    return answers


@pytest.fixture
def asking(python: Callable[[str], str], work: Path, logs: Path) -> Iterator[Callable[..., Asking]]:
    running: list[Asking] = []

    def start(which: str, environment: Mapping[str, str], *modules: str) -> Asking:
        running.append(Asking(python(which), environment, work, logs / f"asking-{next(_names)}.log", *modules))
        return running[-1]

    yield start
    for program in running:
        program.stop()
