"""What the SDKs see when things go wrong: Cambio is down, the pod's token is not as it should be, somebody knocks without a secret,
the configuration is broken."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import http.server
import itertools
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import DOOR, OPS, Asking, request
from house import Agent, Dev, plain_environment, write_secret
from outage import Way
from programs import Program, eventually

Ask = Callable[..., dict[str, Any]]
VERTEX = "You are llm@cambio-dev.iam.gserviceaccount.com"


@pytest.fixture
def way(dev: Dev) -> Iterator[Way]:
    made = Way(dev.url)
    yield made
    made.cut()


def settings(secret: Path, **targets: dict[str, Any]) -> dict[str, Any]:
    doors = {"listen": DOOR, "secret_file": str(secret), "vault": {"targets": list(targets)}}
    if "vertex" in targets:
        doors["gce"] = {"target": "vertex", "project": "cambio-dev", "uids": [os.getuid()]}
    return {"targets": targets, "doors": doors, "ops": {"listen": OPS}}


def told(environment: dict[str, str], agent: Agent, secret: Path, target: str) -> dict[str, str]:
    at = agent.ready["listeners"][DOOR]
    return environment | {
        "GCE_METADATA_HOST": at,
        "GCE_METADATA_IP": at,
        "VAULT_ADDR": f"http://{at}",
        "VAULT_TOKEN": secret.read_text(),
        "ASKS_VAULT_VALUE": target,
    }


def state(agent: Agent, what: str = "status") -> tuple[int, Any]:
    status, _, body = request(f"http://{agent.ready['listeners'][OPS]}/{what}")
    return status, json.loads(body) if what == "status" else body


def test_cambio_is_down_later(
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    way: Way,
    sdk_environment: dict[str, str],
    asking: Callable[..., Asking],
    tmp_path: Path,
) -> None:
    """What there is is handed out until it dies, here after seconds; then the SDK shows why there is none; then all is well again."""
    way.open()
    secret = tmp_path / "secret"
    agent = start_agent(agent_config(url=way.url, **settings(secret, vertex={"lifetime": "18s"})))
    environment = told(sdk_environment, agent, secret, "vertex")
    google = asking("newest", environment, "google:vertex")
    vault = [asking(sdk, environment, "vault:value") for sdk in ("newest", "oldest")]
    assert all(program.ask() == {"value": True} for program in vault)
    assert VERTEX in google.ask()["vertex"]
    way.cut()
    assert VERTEX in google.ask()["vertex"], "a credential that lives is served"
    assert all(program.ask() == {"value": True} for program in vault)
    assert state(agent, "readyz")[0] == 200, "who has a credential is not taken out of service"

    def died() -> str:
        answer = vault[0].ask()["value"]
        return "" if answer is True else answer

    for says in (eventually("the credential has died", died), vault[1].ask()["value"]):
        assert says.startswith("VaultDown: cambio: unreachable: no answer from " + way.url), says
    token = "/computeMetadata/v1/instance/service-accounts/default/token"
    status, headers, says = request(f"http://{agent.ready['listeners'][DOOR]}{token}", {"Metadata-Flavor": "Google"})
    assert (status, int(headers["Retry-After"]) >= 5) == (503, True) and "unreachable" in says, "Google's SDKs try that again for long"
    held = state(agent)[1]["targets"][0]
    assert held["state"] == "missing" and held["failures"] > 0 and way.url in held["error"]["message"]
    way.open()
    eventually("it is served again", lambda: all(program.ask() == {"value": True} for program in vault), 60)
    assert VERTEX in google.ask()["vertex"]


def test_cambio_is_down_at_start(
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    dev: Dev,
    sdk_environment: dict[str, str],
    asking: Callable[..., Asking],
    work: Path,
    logs: Path,
    tmp_path: Path,
) -> None:
    """A server of its own: it is not there, it comes, and it goes."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{s.getsockname()[1]}"
    token, secret, data = tmp_path / "token", tmp_path / "secret", tmp_path / "data"
    write_secret(token, dev.token())  # of the other server: this one will not take it
    agent = start_agent(agent_config(url=f"http://{at}", identity={"file": str(token)}, **settings(secret, gpt={})))
    programs = [asking(sdk, told(sdk_environment, agent, secret, "gpt"), "vault:value") for sdk in ("newest", "oldest")]
    for program in programs:
        says = program.ask()["value"]
        assert at in says and "unreachable" in says, says
    status, text = state(agent, "readyz")
    assert status == 503 and "target gpt" in text and at in text

    ready = tmp_path / "ready.json"
    command = [str(dev.binary), "dev", "--data", str(data), "--listen", at, "--ops-listen", "127.0.0.1:0", "--ready-file", str(ready)]
    own = Program("dev", logs / "second-dev.log", command, plain_environment(), work)
    try:
        own.until("is ready", ready.exists)
        mint = [
            "token",
            "--data",
            str(data),
            "--trust",
            "cluster",
            "--namespace",
            "llm",
            "--service-account",
            "gateway",
            "--audience",
            "cambio",
        ]
        done = subprocess.run([str(dev.binary), *mint], check=True, capture_output=True, text=True, env=plain_environment(), timeout=30)
        write_secret(token, done.stdout.strip())
        eventually("it is served", lambda: all(program.ask() == {"value": True} for program in programs), 60)
        assert state(agent, "readyz")[0] == 200
    finally:
        assert own.stop() == 0
    assert all(program.ask() == {"value": True} for program in programs), "what there is is served without the server"


@pytest.mark.parametrize("wrong", ["missing", "empty", "half-written", "a folder", "not a token"])
def test_token_file(
    wrong: str, agent_binary: Path, agent_config: Callable[..., Path], dev: Dev, sdk_environment: dict[str, str], ask: Ask, tmp_path: Path
) -> None:
    """boto3 shows what is to be changed, and none of the token."""
    path, whole = tmp_path / "token", dev.token()
    text = {"empty": "", "half-written": whole[: whole.rindex(".") + 1], "not a token": "hello"}.get(wrong)
    if wrong == "a folder":
        path.mkdir()
    elif text is not None:
        write_secret(path, text)
    config, profiles = agent_config(identity={"file": str(path)}, targets={"bedrock": {}}), tmp_path / "config"
    profiles.write_text(f"[default]\ncredential_process = {agent_binary} credential-process bedrock --config {config}\n")
    says = ask("newest", sdk_environment | {"AWS_CONFIG_FILE": str(profiles)}, "aws:sts")["sts"]
    assert says.startswith("CredentialRetrievalError") and str(path) in says and whole[:-1] not in says and "eyJ" not in says, says


def test_token_file_comes_later(
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    dev: Dev,
    sdk_environment: dict[str, str],
    asking: Callable[..., Asking],
    tmp_path: Path,
) -> None:
    """A sidecar that was faster than the mount: nobody starts it anew."""
    token, secret = tmp_path / "token", tmp_path / "secret"
    agent = start_agent(agent_config(identity={"file": str(token)}, **settings(secret, gpt={})))
    program = asking("newest", told(sdk_environment, agent, secret, "gpt"), "vault:value")
    says = program.ask()["value"]
    assert str(token) in says, says
    write_secret(token, dev.token())
    eventually("it is served", lambda: program.ask() == {"value": True})


def test_token_is_rotated_while_it_is_read(agent_binary: Path, agent_config: Callable[..., Path], dev: Dev, tmp_path: Path) -> None:
    """As kubelet does it: the folder behind a link is another from one moment to the next."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_secret(tmp_path / name / "token", dev.token())
    data, beside, over = tmp_path / "..data", tmp_path / "..new", threading.Event()
    data.symlink_to("a")
    (tmp_path / "token").symlink_to("..data/token")

    def rotate() -> None:
        for name in itertools.cycle("ab"):
            beside.symlink_to(name)
            beside.rename(data)
            if over.is_set():
                return

    config = agent_config(identity={"file": str(tmp_path / "token")}, targets={"gpt": {}})
    turning = threading.Thread(target=rotate)
    turning.start()
    try:
        for _ in range(10):
            command = [str(agent_binary), "token", "gpt", "--config", str(config)]
            done = subprocess.run(command, env=plain_environment(), capture_output=True, text=True, timeout=30)
            assert done.returncode == 0 and done.stdout, done.stderr
    finally:
        over.set()
        turning.join()


def test_s36_storm_without_the_secret(
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    dev: Dev,
    sdk_environment: dict[str, str],
    asking: Callable[..., Asking],
    tmp_path: Path,
) -> None:
    """It asks Cambio for nothing, and keeps nobody from being served."""
    secret = tmp_path / "secret"
    agent = start_agent(agent_config(**settings(secret, gpt={})))
    program = asking("newest", told(sdk_environment, agent, secret, "gpt"), "vault:value")
    assert program.ask() == {"value": True}
    before, url = len(dev.exchanges("gpt")), f"http://{agent.ready['listeners'][DOOR]}/v1/secret/gpt"
    with concurrent.futures.ThreadPoolExecutor(16) as crowd:
        knocking = [crowd.submit(request, url, {"X-Vault-Token": f"guess-{i}"}) for i in range(400)]
        assert program.ask() == {"value": True}
        assert {future.result()[0] for future in knocking} == {403}
    assert program.ask() == {"value": True}
    assert len(dev.exchanges("gpt")) == before


def test_crowd_at_a_cold_door(start_agent: Callable[..., Agent], agent_config: Callable[..., Path], dev: Dev, tmp_path: Path) -> None:
    """All of them wait for one exchange."""
    secret, before = tmp_path / "secret", len(dev.exchanges("claude"))
    agent = start_agent(agent_config(**settings(secret, claude={})))
    url, own = f"http://{agent.ready['listeners'][DOOR]}/v1/secret/claude", {"X-Vault-Token": secret.read_text()}
    with concurrent.futures.ThreadPoolExecutor(50) as crowd:
        assert set(crowd.map(lambda _: request(url, own)[0], range(50))) == {200}
    assert len(dev.exchanges("claude")) == before + 1


class _Picky(http.server.ThreadingHTTPServer):
    """An API that refuses as many as come at once, all of them together."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, crowd: int) -> None:
        super().__init__(("127.0.0.1", 0), _PickyHandler)
        self.all_here = threading.Barrier(crowd)
        self.crowd, self.count, self.lock = crowd, 0, threading.Lock()


class _PickyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Picky

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.count += 1
            first = self.server.count <= self.server.crowd
        if first:
            self.server.all_here.wait(30)
        self.send_response(401 if first else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_storm_of_401_takes_one_renewal(
    start_agent: Callable[..., Agent], agent_config: Callable[..., Path], dev: Dev, tmp_path: Path
) -> None:
    """However many are refused at once, Cambio is asked once. The credential was made a moment ago, so Cambio does not replace it
    either, and the API is not asked again with the same."""
    crowd, secret = 30, tmp_path / "proxy-secret"
    upstream = _Picky(crowd)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    try:
        route = {
            "name": "api",
            "upstream": f"http://127.0.0.1:{upstream.server_port}",
            "target": "claude",
            "paths": ["/**"],
            "auth": "bearer",
        }
        proxy = {"listen": DOOR, "secret_file": str(secret), "routes": [route]}
        agent = start_agent(agent_config(targets={"claude": {}}, proxy=proxy, ops={"listen": OPS}))
        eventually("there is a credential", lambda: state(agent, "readyz")[0] == 200)
        before = len(dev.exchanges("claude"))
        url, own = f"http://{agent.ready['listeners'][DOOR]}/api/x", {"Authorization": f"Bearer {secret.read_text()}"}
        with concurrent.futures.ThreadPoolExecutor(crowd) as pool:
            assert set(pool.map(lambda _: request(url, own)[0], range(crowd))) == {401}
        assert upstream.count == crowd and len(dev.exchanges("claude")) == before + 1
        assert request(url, own)[0] == 200
    finally:
        upstream.shutdown()
        upstream.server_close()


def test_reload_of_a_broken_file_keeps_serving(
    start_agent: Callable[..., Agent],
    agent_config: Callable[..., Path],
    dev: Dev,
    sdk_environment: dict[str, str],
    asking: Callable[..., Asking],
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    config = agent_config(**settings(secret, gpt={}))
    agent = start_agent(config)
    program = asking("newest", told(sdk_environment, agent, secret, "gpt"), "vault:value")
    assert program.ask() == {"value": True}
    good, own, before = config.read_text(), secret.read_text(), len(dev.exchanges("gpt"))
    for broken, says in (
        (good.replace("gpt: {}", "gtp: {}"), 'no target is called "gpt"'),
        (good + "dors: {}\n", "no such key; did you mean doors?"),
        ("targets: {", "agent-"),
        (good.replace("http://", "http://user:word@"), "url"),
    ):
        config.write_text(broken)
        agent.program.signal(signal.SIGHUP)
        eventually("it is told", lambda says=says: says in state(agent)[1]["config"].get("fault", ""))
        assert program.ask() == {"value": True}
        assert "user:word" not in agent.program.text()
    config.write_text(good.replace("- gpt", "- gpt\n    - claude").replace("gpt: {}", "gpt: {}\n  claude: {}"))
    agent.program.signal(signal.SIGHUP)
    eventually("it is in force", lambda: not state(agent)[1]["config"].get("fault"))
    assert program.ask() == {"value": True}
    assert secret.read_text() == own, "what programs hold goes on"
    assert len(dev.exchanges("gpt")) == before, "and so does what the agent holds"
    url = f"http://{agent.ready['listeners'][DOOR]}/v1/secret/claude"
    assert request(url, {"X-Vault-Token": own})[0] == 200


def test_ends_with_nothing_wrong(start_agent: Callable[..., Agent], agent_config: Callable[..., Path], way: Way, tmp_path: Path) -> None:
    """By SIGTERM and SIGINT; also while the server cannot be reached, and with programs connected."""
    for number in (signal.SIGTERM, signal.SIGINT):
        secret = tmp_path / f"secret-{number}"
        agent = start_agent(agent_config(url=way.url, **settings(secret, gpt={})))
        with contextlib.closing(http.client.HTTPConnection(agent.ready["listeners"][DOOR], timeout=20)) as connected:
            connected.request("GET", "/v1/sys/health")
            assert connected.getresponse().read()
            agent.program.signal(number)
            assert agent.program.process.wait(20) == 0, agent.program.text()


def test_second_agent_at_the_same_address_says_so(
    start_agent: Callable[..., Agent], agent_binary: Path, agent_config: Callable[..., Path], tmp_path: Path
) -> None:
    first = start_agent(agent_config(**settings(tmp_path / "one", gpt={})))
    at = first.ready["listeners"][DOOR]
    second = settings(tmp_path / "two", gpt={})
    second["doors"]["listen"] = at
    command = [str(agent_binary), "run", "--config", str(agent_config(**second))]
    done = subprocess.run(command, env=plain_environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and at in done.stderr, done.stderr
