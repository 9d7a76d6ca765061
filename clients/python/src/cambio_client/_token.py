"""What an exchange gave."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._clock import Clock
from ._secret import Secret


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A credential. It is not changed after it was made. Its value does not print.

    from cambio_client import Client

    token = Client().exchange("github-mcp")
    print({"Authorization": "Bearer " + token.value.reveal()}.keys(), token.remaining(), "s are left")
    """

    value: Secret
    """The token, or what the target issues in its place: of AWS and OCI a JSON object."""
    token_type: str
    """How a token is sent, such as "Bearer"; "N_A" for what is no token."""
    issued_token_type: str
    """What value is: a token type URI."""
    scopes: tuple[str, ...]
    """Those that were granted."""
    expires_at: float
    """Seconds since 1970, by this machine's clock when the token was asked for, whatever the server's says."""
    refresh_at: float
    """From when a source renews; as expires_at."""
    exchange_id: str
    """Finds the exchange in the server's ledger."""
    lease_id: str
    """Names the credential in the server's ledger."""
    ends: float = field(repr=False)
    """expires_at by the clock that is never set."""
    renews: float = field(repr=False)
    """refresh_at by the clock that is never set."""
    clock: Clock = field(repr=False)
    """Whose time that is."""

    def remaining(self) -> float:
        """Seconds that are left, by a clock that is never set; 0 once there are none."""
        return max(0.0, self.ends - self.clock.monotonic())

    def __copy__(self) -> Token:
        return self

    def __deepcopy__(self, memo: object) -> Token:
        return self
