"""Reads what the token endpoint answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from ._clock import Clock
from ._errors import CODE_BAD_ANSWER, ExchangeRefused, plain, quiet
from ._http import MAX_ANSWER, Response
from ._secret import Secret
from ._token import Token

MAX_RETRY_AFTER = 300.0
"""Seconds that a server can make us wait."""
_BUSY = (429, 502, 503, 504)


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty one if there is none."""
    if len(body) > MAX_ANSWER:
        return {}
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _text(answer: dict[str, Any], name: str) -> str:
    """A member that is a text, or is left out; raises TypeError."""
    value = answer.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def refusal(response: Response, secrets: Iterable[str]) -> ExchangeRefused:
    """Reads an answer that is no 200 (RFC 6749 section 5.2). secrets: what was sent, and is not repeated."""
    answer = object_in(response.body)
    try:
        code, description, exchange_id = (
            plain(quiet(_text(answer, name), secrets)) for name in ("error", "error_description", "exchange_id")
        )
    except TypeError:
        code = description = exchange_id = ""
    if not code:
        code, exchange_id = CODE_BAD_ANSWER, ""
        description = f"status {response.status}, and not a word of why: is it a Cambio server?"
    return ExchangeRefused(
        code,
        description,
        status=response.status,
        exchange_id=exchange_id,
        retryable=response.status in _BUSY,
        retry_after=_retry_after(response.headers.get("retry-after", "")),
    )


def _retry_after(text: str) -> float:
    text = text.strip()
    if not text.isascii() or not text.isdigit():
        return 0.0
    return min(float(text[:12]), MAX_RETRY_AFTER)


def credential(
    response: Response, origin: str, began: tuple[float, float], subject_expires: float | None, clock: Clock
) -> Token | ExchangeRefused:
    """Reads a 200 (RFC 8693 section 2.2.1). began: the monotonic time and the wall's when the request was sent."""
    answer = object_in(response.body)
    bad = ExchangeRefused(
        CODE_BAD_ANSWER, f"no credential is in the answer of {origin}: is it a Cambio server?", status=response.status
    )
    try:
        value, scope = _text(answer, "access_token"), _text(answer, "scope")
        value.encode()  # half a surrogate can be sent nowhere
        token_type, issued = plain(_text(answer, "token_type")), plain(_text(answer, "issued_token_type"))
        exchange_id, lease_id = plain(_text(answer, "exchange_id")), plain(_text(answer, "lease_id"))
    except (TypeError, UnicodeError):
        return bad
    seconds: Any = answer.get("expires_in")
    if seconds is None:
        seconds = 0
    if not value or not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds <= 1 << 30:
        return bad
    life = float(seconds)
    steady, wall = began
    # The server sees to it that a credential dies before what bought it. Should it not: this side knows when that
    # is, unless its clock is so far off that the token that was just taken seems to be dead.
    if subject_expires is not None and subject_expires > wall:
        life = min(life, subject_expires - wall)
    early = ahead(life, clock.random())
    return Token(
        value=Secret(value),
        token_type=token_type,
        issued_token_type=issued,
        scopes=tuple(scope.split()),
        expires_at=wall + life,
        refresh_at=wall + life - early,
        exchange_id=exchange_id,
        lease_id=lease_id,
        ends=steady + life,
        renews=steady + life - early,
        clock=clock,
    )


def ahead(life: float, chance: float) -> float:
    """How many seconds before its end a credential is renewed: a fifth of its life, five minutes at most, and a fifth
    of that more or less, so that replicas that started together do not ask together."""
    window = min(300.0, life / 5)
    return window + (chance * 2 - 1) * 0.2 * window
