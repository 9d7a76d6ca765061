"""Signs OCI requests with a key that Cambio holds (docs/api.md, "Signing sessions")."""

from __future__ import annotations

import base64
import re
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from ._clock import Clock
from ._crew import arrival, crew
from ._errors import CODE_BAD_ANSWER, CambioError, misconfigured
from ._fork import survives_fork
from ._oci_pen import SEND_LEFT, Signed, members
from ._oci_request import Outline
from ._rest import Rest
from ._secret import Secret
from ._source import TokenSource
from ._token import Token

TOKEN_TYPE = "urn:cambio:token-type:oci-signing-session"
"""What to ask an exchange for."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z")
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_LINE = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class _Session:
    """A session, as far as it is known here."""

    of: Token
    id: str
    token: Secret
    region: str
    ends: float  # by the clock that is never set

    @property
    def value(self) -> Secret:
        return self.of.value


class SessionPen:
    """Sends what is to be signed to the server, whose date is in the signature: a wrong clock does no harm here.

    The server renews a session that is used, ahead of its end; each answer says how long it lives, and from when it is
    for the caller to exchange again. Then one thread does so, and until it has, the old session signs.
    """

    always_content = True

    def __init__(self, source: TokenSource, rest: Rest, clock: Clock) -> None:
        self._source, self._rest, self._clock = source, rest, clock
        self._held: _Session | None = None
        self.after_fork()
        survives_fork(self)

    def after_fork(self) -> None:
        """The exchange that was under way is the parent's."""
        self._ahead: Future[None] | None = None

    def sign(self, o: Outline) -> Signed:
        session = self._current()
        try:
            return self._ask(session, o)
        except CambioError as err:
            if err.status != 404:
                raise
            refused = err.again()
        # Revoked, or ended meanwhile: a new one, once for all whom that befell.
        self.renew(session.value)
        another = self._held
        if another is None or another.value == session.value:
            raise refused
        return self._ask(another, o)

    async def asign(self, o: Outline) -> Signed:
        return await arrival(crew.start(lambda: self.sign(o)))

    def renew(self, value: Secret | None) -> None:
        self._adopt(self._source.token(rejected=self._current().value if value is None else value))

    async def arenew(self, value: Secret) -> None:
        self._adopt(await self._source.atoken(rejected=value))

    def region(self) -> str:
        return self._current().region

    def security_token(self) -> str:
        raise misconfigured('Cambio holds the security token of its signing session: take signing="key" to have one')

    def _current(self) -> _Session:
        held = self._held
        if held is not None and held.ends > self._clock.monotonic():
            return held
        return self._adopt(self._source.token(min_left=SEND_LEFT))

    def _adopt(self, token: Token) -> _Session:
        held = self._held
        if held is not None and held.of is token:
            return held
        found = members(token, "session", "token", "region")
        if not _ID.fullmatch(found["session"]):
            raise CambioError(CODE_BAD_ANSWER, "the session's name is none", exchange_id=token.exchange_id)
        self._held = held = _Session(token, found["session"], Secret(found["token"]), found["region"], token.ends)
        return held

    def _ask(self, session: _Session, o: Outline) -> Signed:
        path, _, query = o.target.partition("?")
        asked: dict[str, object] = {
            "token": session.token.reveal(),
            "method": o.method,
            "host": o.host,
            "path": path,
            "query": query,
        }
        if o.content is not None:
            asked["headers"] = {"content-type": o.content.type}
            asked["body_sha256"] = base64.b64encode(o.content.sha256).decode()
            asked["body_length"] = o.content.length
        began = self._clock.monotonic()
        answer = self._rest.post(f"/v1/sessions/{session.id}:sign", asked)
        del asked
        headers: Any = answer.get("headers")
        try:
            authorization, date = _line(headers["authorization"]), _line(headers["date"])
            sent = parsedate_to_datetime(date).timestamp()
            life, patience = _seconds(answer["expire_time"]) - sent, _seconds(answer["renew_time"]) - sent
        except (KeyError, TypeError, ValueError, OverflowError):
            raise CambioError(CODE_BAD_ANSWER, "the signature cannot be read: is it a Cambio server?") from None
        if self._held is not None and self._held.of is session.of:
            self._held = replace(session, ends=began + life)
            if patience <= 0:
                self._renew_ahead(session.value)
        signed = o.signed(date)
        del signed["(request-target)"]
        return Signed({**signed, "authorization": authorization}, session.value)

    def _renew_ahead(self, value: Secret) -> None:
        """Exchanges in a thread, one at a time; the source asks no faster than it does after failures."""
        ahead = self._ahead
        if ahead is None or ahead.done():
            with suppress(RuntimeError):  # the interpreter ends
                self._ahead = crew.start(lambda: self.renew(value))


def _line(text: Any) -> str:
    if not isinstance(text, str) or not _LINE.fullmatch(text):
        raise TypeError
    return text


def _seconds(text: Any) -> float:
    """Seconds since 1970 of a time as protobuf has it in JSON (RFC 3339 in UTC)."""
    m = _TIME.fullmatch(text)
    if m is None:
        raise ValueError
    whole = datetime.strptime(m[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return whole.timestamp() + float(m[2] or 0)
