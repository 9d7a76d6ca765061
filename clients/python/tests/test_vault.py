from __future__ import annotations

import importlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from house import Answer, Cambio, Gateway, ManualClock, Request, at_once, serving

from cambio_client import CambioError, Client, Misconfigured, hvac_client, vault_secret, vault_unwrap

Forbidden: Any = importlib.import_module("hvac.exceptions").Forbidden  # which has no types
SECRET, LEASE, WRAPPING = (f"urn:cambio:token-type:{kind}" for kind in ("secret", "vault-lease", "vault-wrapping"))


class _Vault(Gateway):
    """Takes each wrapping token once, and has a secret for who has a token of its own."""

    def __init__(self, cambio: Cambio) -> None:
        super().__init__(lambda _: True)
        self.denied: set[str] = set()
        self._cambio = cambio

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        token = request.headers.get("x-vault-token", "")
        if token not in self._cambio.issues or token in self.revoked:
            return Answer(403, b'{"errors":["permission denied","invalid token"]}')
        if request.path in self.denied:
            return Answer(403, b'{"errors":["1 error occurred: permission denied"]}')
        if request.path == "/v1/sys/wrapping/unwrap":
            self.revoked.add(token)
            lease = {"lease_id": "database/creds/app/1", "renewable": True, "data": {"username": "u", "password": "p"}}
            return Answer(body=json.dumps(lease).encode())
        if request.path == "/v1/secret/data/app":
            return Answer(body=b'{"data":{"data":{"key":"value"},"metadata":{"version":1}}}')
        return Answer(404, b'{"errors":[]}')


@pytest.fixture
def vault(cambio: Cambio, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Vault]:
    monkeypatch.setenv("VAULT_TOKEN", "a token that must not be used")
    cambio.token_type, cambio.issued = "N_A", SECRET
    with serving(_Vault(cambio)) as server:
        yield server


def _lease(**changes: Any) -> str:
    data = {"username": "app", "password": "vended-secret-" + secrets.token_hex(8), "ports": [1, 2]}
    return json.dumps({"lease_id": "database/creds/app/1", "renewable": True, "data": data, **changes})


def test_a_field(cambio: Cambio) -> None:
    cambio.token_type, cambio.issued = "N_A", SECRET
    secret = vault_secret(cambio.source())
    assert secret["value"] == cambio.issues[0]
    assert (secret.lease_id, secret.renewable) == ("", False)


def test_a_lease_and_its_renewal(cambio: Cambio) -> None:
    cambio.token_type, cambio.issued, cambio.make = "N_A", LEASE, _lease
    clock = ManualClock()
    source = cambio.source(clock)
    first = vault_secret(source)
    assert (first["username"], first.data["ports"], first.lease_id) == ("app", [1, 2], "database/creds/app/1")
    assert first.renewable
    assert first.expires_at == pytest.approx(clock.time() + 3600)
    assert vault_secret(source)["password"] == first["password"]
    clock.advance(3600)
    assert vault_secret(source)["password"] != first["password"]
    with pytest.raises(KeyError):
        first["absent"]


def test_values_of_kv_have_no_lease(cambio: Cambio) -> None:
    cambio.token_type, cambio.issued = "N_A", LEASE
    cambio.make = lambda: '{"renewable":false,"data":{"key":"value"}}'
    assert vault_secret(cambio.source()).lease_id == ""


def test_s39_a_secret_shows_no_field(cambio: Cambio) -> None:
    cambio.token_type, cambio.issued, cambio.make = "N_A", LEASE, _lease
    assert "vended-secret" not in repr(vault_secret(cambio.source()))


@pytest.mark.parametrize(
    "value", ["text", "[]", "null", "{}", '{"data":[]}', '{"data":{},"lease_id":7}', "[" * 100_000]
)
def test_what_is_no_lease_is_told(cambio: Cambio, value: str) -> None:
    cambio.token_type, cambio.issued, cambio.make = "N_A", LEASE, lambda: value
    with pytest.raises(CambioError, match="no secret of Vault's"):
        vault_secret(cambio.source())


def test_the_wrong_door_is_told(cambio: Cambio) -> None:
    token = cambio.source().token()
    with pytest.raises(Misconfigured, match="access_token is no secret"):
        vault_secret(token)
    with pytest.raises(Misconfigured, match="vault_secret"):
        vault_unwrap("http://127.0.0.1:1", token)
    with pytest.raises(Misconfigured, match="vault target with field"):
        _read(hvac_client("http://127.0.0.1:1", cambio.source()))
    cambio.issued = WRAPPING
    with pytest.raises(Misconfigured, match="vault_unwrap"):
        vault_secret(cambio.source())


def test_what_is_wrapped_is_unwrapped_once(cambio: Cambio, vault: _Vault) -> None:
    cambio.issued = WRAPPING
    client = Client(cambio.url, identity=lambda: cambio.subject)
    token = client.exchange("gateway")
    secret = vault_unwrap(vault.url, token)
    assert (secret["password"], secret.lease_id, secret.expires_at) == ("p", "database/creds/app/1", None)
    with pytest.raises(Forbidden):
        vault_unwrap(vault.url, token)
    assert vault_unwrap(vault.url, client.exchange("gateway"))["username"] == "u"


def _read(client: Any) -> object:
    return client.secrets.kv.v2.read_secret_version("app", raise_on_deleted_version=True)["data"]["data"]["key"]


def test_a_client_with_a_token_of_cambios(cambio: Cambio, vault: _Vault) -> None:
    client = hvac_client(vault.url, cambio.source())
    assert [_read(client), _read(client)] == ["value", "value"]
    assert client.token == cambio.issues[0]
    assert len(cambio.issues) == 1


def test_a_token_that_vault_forgot_is_renewed_once(cambio: Cambio, vault: _Vault) -> None:
    client = hvac_client(vault.url, cambio.source())
    _read(client)
    vault.revoked.update(cambio.issues)
    assert at_once(16, lambda: _read(client)) == ["value"] * 16
    assert len(cambio.issues) == 2


def test_who_may_not_is_not_renewed_for(cambio: Cambio, vault: _Vault) -> None:
    client = hvac_client(vault.url, cambio.source())
    vault.denied.add("/v1/secret/data/app")
    with pytest.raises(Forbidden):
        _read(client)
    assert len(vault.requests) == len(cambio.issues) == 1


def test_where_nothing_new_can_be_had_vaults_answer_stands(cambio: Cambio, vault: _Vault) -> None:
    client = hvac_client(vault.url, cambio.source(ManualClock()))
    _read(client)
    vault.revoked.update(cambio.issues)
    cambio.down = True
    with pytest.raises(Forbidden, match="invalid token"):
        _read(client)


def test_no_token_goes_to_vault_over_plain_http(cambio: Cambio) -> None:
    with pytest.raises(Misconfigured, match="https"):
        hvac_client("http://vault.example:8200", cambio.source())
