"""The server's REST face, with the workload's own token as bearer (RFC 6750 section 2.1)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._answer import object_in, refusal
from ._clock import Clock
from ._errors import (
    CODE_BAD_ANSWER,
    CODE_FAILED,
    CODE_UNREACHABLE,
    CambioError,
    ExchangeRefused,
    ServerUnreachable,
    plain,
)
from ._http import Response, Transport
from ._identity import Identity, ask

ATTEMPTS = 3
"""At one call, when the server cannot be reached or is busy."""


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
        text = json.dumps(body).encode()
        deadline = self.clock.monotonic() + self.timeout
        attempt = 0
        while True:
            attempt += 1
            answer = self._attempt(path, text, deadline)
            if not isinstance(answer, CambioError):
                return answer
            # A token file that is replaced at this moment is a reason to look once more, as a busy server is.
            if attempt == ATTEMPTS or not (answer.retryable or (answer.status == 401 and attempt == 1)):
                break
            wait = max(answer.retry_after, 0.1 * 2**attempt * (0.5 + self.clock.random()))
            if self.clock.monotonic() + wait > deadline:
                break
            self.clock.sleep(wait)
        del text, body
        raise answer

    def _attempt(self, path: str, body: bytes, deadline: float) -> dict[str, Any] | CambioError:
        """One request. Errors are returned, not raised: a traceback would show this frame, which holds the token."""
        try:
            token = ask(self.identity).value.reveal()
        except CambioError as err:
            return err.again()
        headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json"}
        left = max(deadline - self.clock.monotonic(), 0.001)
        try:
            response = self.transport.send("POST", self.origin + path, headers, body, left)
        except CambioError as err:
            return err.again()
        except (OSError, http.client.HTTPException) as err:
            fault = f"no answer from {self.origin}: {plain(str(err) or type(err).__name__)}"
            return ServerUnreachable(CODE_UNREACHABLE, fault, retryable=True)
        except Exception as err:
            return CambioError(CODE_FAILED, f"the transport broke: {plain(type(err).__name__)}")
        return self._read(response)

    def _read(self, response: Response) -> dict[str, Any] | CambioError:
        if response.status != 200:
            return refusal(response)
        return object_in(response.body) or ExchangeRefused(
            CODE_BAD_ANSWER,
            f"no object is in the answer of {self.origin}: is it a Cambio server?",
            status=response.status,
        )
