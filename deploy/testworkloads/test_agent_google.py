"""google-auth, unmodified, by the agent as metadata server, which lets in processes of the users it names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import DOOR, OPS, request
from house import Agent, Dev

Ask = Callable[..., dict[str, Any]]
NOBODY = 65534
GOOGLE = {"Metadata-Flavor": "Google"}
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
ACCOUNT = "llm@cambio-dev.iam.gserviceaccount.com"


def settings(*uids: int) -> dict[str, Any]:
    door = {"target": "vertex", "project": "cambio-dev", "service_account": ACCOUNT, "uids": list(uids)}
    return {"targets": {"vertex": {}}, "doors": {"listen": DOOR, "gce": door}, "ops": {"listen": OPS}}


@pytest.fixture(scope="module")
def before(dev: Dev) -> int:
    """How often others had the target; a test takes it ahead of the agent."""
    return len(dev.exchanges("vertex"))


@pytest.fixture(scope="module")
def host(keep_agent: Callable[..., Agent], agent_config: Callable[..., Path]) -> str:
    return keep_agent(agent_config(**settings(os.getuid()))).ready["listeners"][DOOR]


@pytest.fixture(scope="module")
def others_host(keep_agent: Callable[..., Agent], agent_config: Callable[..., Path]) -> str:
    """An agent that is there for another user alone."""
    return keep_agent(agent_config(**settings(NOBODY))).ready["listeners"][DOOR]


def told(environment: dict[str, str], host: str) -> dict[str, str]:
    return environment | {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}


def test_default_credentials_then_vertex(sdk: str, before: int, host: str, sdk_environment: dict[str, str], ask: Ask, dev: Dev) -> None:
    said = ask(sdk, told(sdk_environment, host), "google")
    assert said == {"vertex": f"You are {ACCOUNT}, by an assertion of default:vertex.", "project": "cambio-dev"}
    assert len(dev.exchanges("vertex")) == before + 1, "the agent asks once for all that come"


def test_s36_process_of_another_user_is_refused(sdk: str, others_host: str, sdk_environment: dict[str, str], ask: Ask) -> None:
    said = ask(sdk, told(sdk_environment, others_host), "google:vertex")["vertex"]
    assert said.startswith(("DefaultCredentialsError", "RefreshError", "TransportError")), said
    status, _, body = request(f"http://{others_host}{TOKEN}", GOOGLE)
    assert status == 403 and f"uid {os.getuid()} is not among those that may ask: list it in doors.gce.uids" in body


# Becomes nobody, if root starts it: then only the second agent is there for it; else only the first is.
_ASKS_BOTH = """
import encodings.idna, http.client, os, sys
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
for host in sys.argv[2:]:
    connection = http.client.HTTPConnection(host)
    connection.request("GET", sys.argv[1], headers={"Metadata-Flavor": "Google"})
    print(connection.getresponse().status)
"""


def test_s36_who_asks_is_told_by_the_kernel(host: str, others_host: str) -> None:
    done = subprocess.run([sys.executable, "-I", "-c", _ASKS_BOTH, TOKEN, host, others_host], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == (["403", "200"] if os.getuid() == 0 else ["200", "403"]), done.stderr


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Metadata-Flavor": "google"},
        {**GOOGLE, "Origin": "http://evil.example"},
        {**GOOGLE, "Sec-Fetch-Site": "cross-site"},
        {**GOOGLE, "X-Forwarded-For": "127.0.0.1"},
        {**GOOGLE, "Host": "metadata.evil.example"},
        {**GOOGLE, "Host": "metadata.google.internal"},  # which no SDK sends to loopback
    ],
    ids=str,
)
def test_s36_what_a_page_can_send_is_refused(host: str, headers: dict[str, str]) -> None:
    status, _, body = request(f"http://{host}{TOKEN}", headers)
    assert status == 403 and "access_token" not in body


def test_every_answer_is_marked(host: str) -> None:
    for path, headers in (("/", GOOGLE), (TOKEN, GOOGLE), ("/computeMetadata/v1/none", GOOGLE), (TOKEN, {})):
        assert request(f"http://{host}{path}", headers)[1]["Metadata-Flavor"] == "Google"
