"""The identity of a SPIFFE workload."""

from __future__ import annotations

import importlib
from typing import Any

from ._errors import misconfigured
from ._identity import TOKEN_TYPE_JWT, IdentityToken, check_token


class SpiffeWorkload:
    """Asks the SPIFFE Workload API for a JWT-SVID with the audience given, by the package `spiffe`.

    socket: of the Workload API, as unix:///path; None: SPIFFE_ENDPOINT_SOCKET. Raises Misconfigured without that
    package, and IdentityError.

        from cambio_client import Client, SpiffeWorkload

        client = Client("https://cambio.example", identity=SpiffeWorkload("https://cambio.example"))
    """

    def __init__(self, audience: str, *, socket: str | None = None) -> None:
        if not audience:
            raise misconfigured("a JWT-SVID has an audience: give the Cambio server's URL")
        self.audience, self.socket = audience, socket

    def __repr__(self) -> str:
        return f"SpiffeWorkload({self.audience!r}, socket={self.socket!r})"

    def identity_token(self) -> IdentityToken:
        try:
            spiffe: Any = importlib.import_module("spiffe")
        except ImportError:
            raise misconfigured(
                "SpiffeWorkload needs the package spiffe: pip install 'cambio-client[spiffe]'"
            ) from None
        with spiffe.WorkloadApiClient(self.socket) as workload:
            return check_token(
                workload.fetch_jwt_svid({self.audience}).token, TOKEN_TYPE_JWT, "the Workload API's answer"
            )
