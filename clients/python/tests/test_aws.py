from __future__ import annotations

import json
import secrets
from datetime import datetime, timezone
from typing import Any

import pytest
from house import Answer, Cambio, Gateway, ManualClock, Request, serving

from cambio_client import CambioError, Misconfigured, TokenSource, boto3_session

IDENTITY = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:sts::1:assumed-role/llm/me</Arn><UserId>me</UserId><Account>1</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


def _credentials(**changes: Any) -> str:
    """As exchange/provider/aws says them, with an end by a clock that is wrong."""
    return json.dumps(
        {
            "Version": 1,
            "AccessKeyId": "ASIA" + secrets.token_hex(8).upper(),
            "SecretAccessKey": "vended-secret-" + secrets.token_hex(8),
            "SessionToken": "vended-secret-" + secrets.token_hex(8),
            "Expiration": "2001-01-01T00:00:00Z",
            **changes,
        }
    )


@pytest.fixture(autouse=True)
def aws(cambio: Cambio, monkeypatch: pytest.MonkeyPatch) -> None:
    cambio.token_type, cambio.issued, cambio.make = "N_A", "urn:cambio:token-type:aws-credentials", _credentials
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a key that must not be used")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a key that must not be used")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)


class _Sts(Gateway):
    """Answers who signs with the key of the session token that it sends."""

    def __init__(self, cambio: Cambio) -> None:
        super().__init__(lambda _: True)
        self.keys: list[str] = []
        self._cambio = cambio

    def answer(self, request: Request) -> Answer:
        given = [json.loads(value) for value in self._cambio.issues]
        for credential in given:
            key = credential["AccessKeyId"]
            sent = f"Credential={key}/" in request.headers["authorization"]
            if sent and credential["SessionToken"] == request.headers.get("x-amz-security-token"):
                self.keys.append(key)
                return Answer(200, IDENTITY, {"Content-Type": "text/xml"})
        return Answer(403)


def _session(source: TokenSource, **options: Any) -> Any:
    return boto3_session(source, **options)


def _credentials_of(source: TokenSource) -> Any:
    return _session(source).get_credentials()


def test_the_session_signs_with_what_was_issued(cambio: Cambio) -> None:
    with serving(_Sts(cambio)) as sts:
        session = _session(cambio.source(), region_name="eu-central-1")
        client = session.client("sts", endpoint_url=sts.url)
        for _ in range(3):
            assert client.get_caller_identity()["Arn"].endswith("assumed-role/llm/me")
    assert session.region_name == "eu-central-1"
    assert len(cambio.issues) == 1


@pytest.mark.parametrize("life", [900, 3600, 43200])
def test_the_sdk_asks_for_no_more_than_the_source_plans(cambio: Cambio, life: int) -> None:
    cambio.life = life  # 900 s: what the SDK's own plan would renew at every call
    credentials = _credentials_of(cambio.source())
    keys = {credentials.get_frozen_credentials().access_key for _ in range(10)}
    assert len(keys) == len(cambio.issues) == 1


def test_a_renewed_credential_reaches_the_clients_that_are_there(cambio: Cambio) -> None:
    cambio.life, clock = 900, ManualClock()
    with serving(_Sts(cambio)) as sts:
        session = _session(cambio.source(clock), region_name="us-east-1")
        session.get_credentials()._time_fetcher = _by(clock)
        client = session.client("sts", endpoint_url=sts.url)
        client.get_caller_identity()
        clock.advance(900 - 30)
        client.get_caller_identity()
        assert sts.keys == [json.loads(value)["AccessKeyId"] for value in cambio.issues]
    assert len(cambio.issues) == 2


def _by(clock: ManualClock) -> Any:
    """The SDK's own clock."""
    return lambda: datetime.fromtimestamp(clock.time(), timezone.utc)


def test_while_cambio_is_down_what_is_held_serves_to_its_end(cambio: Cambio) -> None:
    cambio.life, clock = 900, ManualClock()
    credentials = _credentials_of(cambio.source(clock))
    first = credentials.get_frozen_credentials()
    credentials._time_fetcher = _by(clock)
    cambio.down = True
    clock.advance(900 - 120)
    assert credentials.get_frozen_credentials() == first
    clock.advance(600)
    with pytest.raises(CambioError, match="temporarily_unavailable"):
        credentials.get_frozen_credentials()


@pytest.mark.parametrize(
    "value",
    [
        "no JSON",
        "[]",
        "{}",
        "null",
        '"text"',
        _credentials(SessionToken=None),
        _credentials(AccessKeyId=""),
        _credentials(SecretAccessKey=7),
        "[" * 100_000,
    ],
    ids=["text", "list", "empty", "null", "string", "no token", "empty key", "number", "deep"],
)
def test_what_is_no_credential_is_told_and_not_shown(cambio: Cambio, value: str) -> None:
    cambio.make = lambda: value
    with pytest.raises(CambioError, match="no AWS credential") as caught:
        _credentials_of(cambio.source()).get_frozen_credentials()
    assert "vended-secret" not in str(caught.value)


def test_another_target_is_told(cambio: Cambio) -> None:
    cambio.issued = "urn:cambio:token-type:bedrock-api-key"
    with pytest.raises(Misconfigured, match="bedrock-api-key is no AWS credential"):
        _credentials_of(cambio.source()).get_frozen_credentials()
