"""litellm with `oci_signer=`, and Oracle's own clients, on what Cambio issues for OCI: with a key that stays in the
process, and with a signing session, where Cambio holds it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from house import Dev

SCRIPTS = Path(__file__).resolve().parent / "scripts"
CALLS = (
    "plain", "async", "streaming", "async streaming", "cohere", "cohere streaming", "async cohere streaming",
    "router", "async router", "router streaming", "async router streaming", "ten at once",
)  # fmt: skip
EMBEDDINGS = ("embedding", "async embedding", "router embedding")
SIGNING = [("oci-genai", "key"), ("oci-signing", "session")]


@pytest.fixture(scope="module", params=SIGNING, ids=["own key", "signing session"])
def litellm(request: pytest.FixtureRequest, dev: Dev, run_python: Callable[..., str]) -> tuple[str, dict[str, object], int]:
    """The target, what each call said, and how many exchanges that took."""
    target, signing = request.param
    before = len(dev.exchanges(target))
    answers = json.loads(run_python("litellm", SCRIPTS / "litellm_oci.py", target, signing, seconds=120).splitlines()[-1])
    return target, answers, len(dev.exchanges(target)) - before


@pytest.mark.parametrize("call", CALLS)
def test_litellm_chats(litellm: tuple[str, dict[str, object], int], call: str) -> None:
    target, answers, _ = litellm
    assert answers[call] == f"You are default:{target}:k8s%3Acluster%3Allm%3Agateway."


@pytest.mark.parametrize("call", EMBEDDINGS)
def test_litellm_embeds(litellm: tuple[str, dict[str, object], int], call: str) -> None:
    assert litellm[1][call] == [[1, 0, 1], [2, 0, 1]]


def test_all_of_it_took_one_exchange(litellm: tuple[str, dict[str, object], int]) -> None:
    target, answers, exchanges = litellm
    assert set(answers) == {*CALLS, *EMBEDDINGS}
    assert exchanges == 1, f"{exchanges} exchanges for {target}"


@pytest.mark.parametrize(("target", "signing"), SIGNING, ids=["own key", "signing session"])
def test_oracles_own_clients(sdk: str, target: str, signing: str, dev: Dev, run_python: Callable[..., str]) -> None:
    before = len(dev.exchanges(target))
    answers = json.loads(run_python(sdk, SCRIPTS / "oracle_clients.py", target, signing))
    who = f"default:{target}:k8s%3Acluster%3Allm%3Agateway"
    assert answers.pop("region") == "us-ashburn-1"
    assert answers.pop("chat") == f"You are {who}."
    assert answers.pop("streaming") == f"You are {who}."
    assert answers.pop("embedding") == [[1, 0, 1], [2, 0, 1]]
    assert answers.pop("copied") is True
    if signing == "key":
        assert answers == {"namespace": who, "upload": 5, "upload of a stream": 3, "download": f"{who} /n/ns/b/bucket/o/a%20name"}
    else:  # its target lists no path of Object Storage
        assert answers == dict.fromkeys(("namespace", "upload", "upload of a stream", "download"), "access_denied")
    assert len(dev.exchanges(target)) - before == 1


@pytest.mark.parametrize(("target", "signing"), SIGNING, ids=["own key", "signing session"])
def test_clients_on_httpx_and_requests(sdk: str, target: str, signing: str, run_python: Callable[..., str]) -> None:
    answers = json.loads(run_python(sdk, SCRIPTS / "oci_over_http.py", target, signing))
    assert set(answers) == {"requests", "httpx", "httpx2", "async httpx", "async httpx2"}
    assert set(answers.values()) == {f"You are default:{target}:k8s%3Acluster%3Allm%3Agateway."}
