"""The server's REST face, with the workload's own token as bearer (RFC 6750 section 2.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._answer import object_in, refusal
from ._clock import Clock
from ._errors import CODE_BAD_ANSWER, CambioError, ExchangeRefused
from ._http import Transport, post
from ._identity import Identity, IdentityToken, ask
from ._patience import patiently


@dataclass(frozen=True, slots=True)
class Rest:
    """Where the face is, and who asks. Safe for concurrent use."""

    origin: str
    identity: Identity
    transport: Transport
    clock: Clock
    timeout: float
    """Seconds for one call, attempts and pauses included."""

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Posts an object, for what may be asked twice, and gives the object of the answer. Raises CambioError."""
        answer = self._post(path, body)
        del body  # tools show the variables of a frame that fails
        if isinstance(answer, CambioError):
            raise answer
        return answer

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any] | CambioError:
        def once(own: IdentityToken, deadline: float) -> dict[str, Any] | CambioError:
            return self._attempt(own, path, body, deadline)

        try:
            return patiently(lambda: ask(self.identity), once, self.clock, self.timeout)
        except CambioError as err:
            return err.again()

    def _attempt(
        self, own: IdentityToken, path: str, body: Mapping[str, object], deadline: float
    ) -> dict[str, Any] | CambioError:
        token = own.value.reveal()
        secrets = (token, str(body.get("token", "")))
        headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json"}
        left = max(deadline - self.clock.monotonic(), 0.001)
        response = post(self.transport, self.origin, path, headers, json.dumps(body).encode(), left, secrets)
        if isinstance(response, CambioError):
            return response
        if response.status != 200:
            return refusal(response, secrets)
        return object_in(response.body) or ExchangeRefused(
            CODE_BAD_ANSWER,
            f"no object is in the answer of {self.origin}: is it a Cambio server?",
            status=response.status,
        )
