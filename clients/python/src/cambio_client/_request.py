"""What is asked for."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlencode

from ._identity import Identity, IdentityLike, as_identity
from ._secret import Secret

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
"""That of a token exchange (RFC 8693 section 2.1)."""


@dataclass(frozen=True, slots=True)
class Request:
    """The parameters of an exchange, in the form that is sent, and whose tokens go with them."""

    form: tuple[tuple[str, str], ...]
    subject: Identity | None
    actor: Identity | None
    passthrough: Identity | None

    def shared(self) -> bool:
        """Whether everybody who asks so gets the same credential."""
        return self.subject is None and self.actor is None and self.passthrough is None

    def without(self, rejected: Secret | None) -> Request:
        """The same, for another credential than the one that its resource refused: the server is told its hash."""
        if rejected is None:
            return self
        digest = base64.urlsafe_b64encode(hashlib.sha256(rejected.reveal().encode()).digest()).decode().rstrip("=")
        return replace(self, form=(*self.form, ("rejected_sha256", digest)))

    def key(self) -> str:
        """Equal for requests that ask for the same."""
        return urlencode(self.form)

    def name(self) -> str:
        """The target, for people."""
        form = dict(self.form)
        return form.get("audience") or form.get("resource") or "the client's default"


def request(
    target: str | None,
    resource: str | None,
    scopes: Sequence[str],
    lifetime: float | timedelta | None,
    reason: str | None,
    subject: IdentityLike | None,
    actor: IdentityLike | None,
    passthrough: IdentityLike | None,
    requested_token_type: str | None,
    public_key: bytes | None,
) -> Request:
    """The request that is meant; see Client.exchange."""
    seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime or 0
    form = {
        "grant_type": GRANT_TYPE,
        "audience": target,
        "resource": resource,
        "scope": scopes if isinstance(scopes, str) else " ".join(scopes),
        "requested_token_type": requested_token_type,
        "requested_lifetime": str(int(seconds)) if seconds > 0 else None,
        "reason": reason,
        "public_key": base64.b64encode(public_key).decode() if public_key else None,
    }
    return Request(
        tuple((name, value) for name, value in form.items() if value),
        None if subject is None else as_identity(subject),
        None if actor is None else as_identity(actor),
        None if passthrough is None else as_identity(passthrough),
    )
