"""What a vault target hands out, and hvac."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ._address import safe_url
from ._bearer import SEND_LEFT, header_value
from ._errors import CODE_BAD_ANSWER, CambioError, misconfigured
from ._extras import missing
from ._source import TokenSource

if TYPE_CHECKING:
    import hvac

    from ._token import Token

VAULT_SECRET = "urn:cambio:token-type:secret"
"""One field, as it is."""
VAULT_LEASE = "urn:cambio:token-type:vault-lease"
"""JSON: lease_id, renewable, data."""
VAULT_WRAPPING = "urn:cambio:token-type:vault-wrapping"
"""A wrapping token, for one call of sys/wrapping/unwrap."""


@dataclass(frozen=True, slots=True)
class VaultSecret:
    """The fields of a secret. They do not print.

    from cambio_client import Client, vault_secret

    secret = vault_secret(Client().token_source("app-db"))
    print(secret.lease_id, sorted(secret.data))
    """

    data: Mapping[str, Any] = field(repr=False)
    """By name; the values are those of the JSON that Vault gave."""
    lease_id: str = ""
    """Vault's own name for it; empty where there is no lease."""
    renewable: bool = False
    """Whether Vault renews the lease."""
    expires_at: float | None = None
    """When to come back, in seconds since 1970 by this machine's clock; None: the wrapping does not say."""

    def __getitem__(self, name: str) -> Any:
        """The field of that name. Raises KeyError."""
        return self.data[name]


def vault_secret(source: TokenSource | Token) -> VaultSecret:
    """The secret of a vault target: the held one, or what an exchange gives. Raises CambioError.

    Of a target with `field` there is one field, `value`. The secret is renewed ahead by the source, so ask at each
    use, or when expires_at has come.

        from cambio_client import Client, vault_secret

        database = vault_secret(Client().token_source("app-db"))
        print(database["username"], database.lease_id)
    """
    token = _token(source)
    if token.issued_token_type == VAULT_SECRET:
        return VaultSecret({"value": token.value.reveal()}, expires_at=token.expires_at)
    if token.issued_token_type == VAULT_WRAPPING:
        raise misconfigured("it is wrapped: unwrap it with vault_unwrap(url, client.exchange(target))")
    if token.issued_token_type != VAULT_LEASE:
        raise misconfigured(f"{token.issued_token_type} is no secret: name a vault target")
    try:
        found: Any = json.loads(token.value.reveal())
    except (ValueError, RecursionError):
        found = None
    return _secret(found, token)


def vault_unwrap(url: str | None, token: Token, **options: Any) -> VaultSecret:
    """The secret of a vault target with `wrap`, which this asks Vault for. Raises hvac's errors and CambioError.

    url: Vault's; None: VAULT_ADDR. options: those of hvac.Client. token: of an exchange of its own, since Vault takes
    a wrapping token once; if it was taken before, somebody else has read the secret.

        from cambio_client import Client, vault_unwrap

        database = vault_unwrap("https://vault.example:8200", Client().exchange("app-db-wrapped"))
        print(database["username"])
    """
    if token.issued_token_type != VAULT_WRAPPING:
        raise misconfigured(f"{token.issued_token_type} is not wrapped: read it with vault_secret")
    client: Any = _client(url, options)
    client.token = token.value.reveal()
    return _secret(client.sys.unwrap(), None)


def hvac_client(url: str | None, source: TokenSource, **options: Any) -> hvac.Client:
    """An hvac.Client whose token is the field of a vault target, asked for at each request.

    url: Vault's, https save on loopback; None: VAULT_ADDR. options: those of hvac.Client, save token and adapter. A
    token that Vault does not know any more ("invalid token") is renewed, and the request sent once more.

        from cambio_client import Client, hvac_client

        vault = hvac_client("https://vault.example:8200", Client().token_source("vault-token"))
        print(vault.secrets.kv.v2.read_secret_version(path="app")["data"]["data"].keys())
    """
    return _client(url, {**options, "adapter": _adapter(source)})


def _token(source: TokenSource | Token) -> Token:
    return source.token(min_left=SEND_LEFT) if isinstance(source, TokenSource) else source


def _secret(found: Any, token: Token | None) -> VaultSecret:
    try:
        data, lease, renewable = found["data"], found.get("lease_id") or "", bool(found.get("renewable"))
    except (LookupError, TypeError, AttributeError):
        data, lease, renewable = None, "", False
    if not isinstance(data, dict) or not isinstance(lease, str):
        raise CambioError(CODE_BAD_ANSWER, "what was given is no secret of Vault's")
    fields = cast("dict[str, Any]", data)
    return VaultSecret(fields, lease, renewable, None if token is None else token.expires_at)


def _sdk() -> Any:
    try:
        import hvac
    except ImportError as err:
        raise missing("vault") from err
    return hvac


def _client(url: str | None, options: dict[str, Any]) -> Any:
    client = _sdk().Client(url=url, token="", **{"allow_redirects": False, **options})
    safe_url(client.url, "Vault")
    return client


def _adapter(source: TokenSource) -> Any:
    """An adapter class that asks source for the token of each request."""
    sdk = _sdk()
    base: Any = sdk.adapters.JSONAdapter
    forbidden: type[Exception] = sdk.exceptions.Forbidden

    class CambioAdapter(base):
        @property
        def token(self) -> str:
            return _field(source.token(min_left=SEND_LEFT))

        @token.setter
        def token(self, value: str | None) -> None:
            """hvac sets what it finds in its environment; that is not used."""

        def request(self, *args: Any, **options: Any) -> Any:
            adapter: Any = super()
            sent = self.token
            try:
                return adapter.request(*args, **options)
            except forbidden as err:
                # 403 is also what a good token gets that may not do this.
                if "invalid token" not in str(err):
                    raise
                try:
                    renewed = _field(source.token(rejected=sent))
                except CambioError:
                    raise err from None
                if renewed == sent:
                    raise
            return adapter.request(*args, **options)

    return CambioAdapter


def _field(token: Token) -> str:
    if token.issued_token_type != VAULT_SECRET:
        raise misconfigured(f"{token.issued_token_type} is no token of Vault's: name a vault target with field")
    return header_value(token).reveal()
