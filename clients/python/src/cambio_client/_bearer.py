"""The token of a request's header: Cambio's, or the workload's own."""

from __future__ import annotations

from ._clock import Clock, SystemClock
from ._errors import CODE_BAD_ANSWER, CODE_IDENTITY, CambioError, IdentityError, misconfigured
from ._identity import Forgetful, Identity, IdentityLike, as_identity, ask
from ._secret import Secret, one_word
from ._single import Single
from ._source import TokenSource
from ._token import Token

SEND_LEFT = 60.0
"""Seconds that a token lives at least when it is sent: a request takes time, and clocks differ."""


class Bearer(Single):
    """Gives the token to send. It is safe for threads, event loops and forks."""

    def __init__(self, source: TokenSource, min_left: float = SEND_LEFT) -> None:
        self._source, self._left = source, min_left

    def token(self, rejected: Secret | None = None) -> Secret:
        """The token; another one than rejected, where there is another. Raises CambioError."""
        return sendable(self._source.token(rejected=rejected, min_left=self._left))

    async def atoken(self, rejected: Secret | None = None) -> Secret:
        """token, for who must not wait in the event loop."""
        return sendable(await self._source.atoken(rejected=rejected, min_left=self._left))


class _OwnToken(Bearer):
    """The workload's own token, kept until it has SEND_LEFT to live, and asked for anew then."""

    def __init__(self, identity: Identity, clock: Clock) -> None:
        self._identity, self._clock = identity, clock
        super().__init__(TokenSource(lambda _: self._ask(), repr(identity), clock), min_left=0.0)

    def token(self, rejected: Secret | None = None) -> Secret:
        self._forget(rejected)
        return super().token(rejected)

    async def atoken(self, rejected: Secret | None = None) -> Secret:
        self._forget(rejected)
        return await super().atoken(rejected)

    def _forget(self, rejected: Secret | None) -> None:
        if rejected is not None and isinstance(self._identity, Forgetful):
            self._identity.forget(rejected)

    def _ask(self) -> Token:
        began, wall = self._clock.monotonic(), self._clock.time()
        own = ask(self._identity)
        left = 0.0  # of a token that does not say, nobody knows how long it may be kept
        if own.expires_at is not None:
            left = own.expires_at - wall - SEND_LEFT
            if left <= 0:
                fault = (
                    f"the workload's own token ends in {max(0, int(left + SEND_LEFT))} s, and one is sent with "
                    f"{SEND_LEFT:.0f} s to live: see that it is renewed, and that this machine's clock is right"
                )
                raise IdentityError(CODE_IDENTITY, fault, retryable=True)
        # To the source it ends when it is not to be sent any more, so that it is asked for anew then.
        return Token(
            value=own.value,
            token_type="Bearer",
            issued_token_type=own.token_type,
            scopes=(),
            expires_at=wall + left,
            refresh_at=wall + left,
            exchange_id="",
            lease_id="",
            ends=began + left,
            renews=began + left,
            clock=self._clock,
        )


def bearer(source: TokenSource | IdentityLike, clock: Clock | None = None) -> Bearer:
    """What gives the token of a source, or of an identity. clock: the time, for tests."""
    if isinstance(source, TokenSource):
        return Bearer(source)
    return _OwnToken(as_identity(source), clock or SystemClock())


def sendable(token: Token) -> Secret:
    """The bearer token for a header. Raises CambioError for what is none."""
    if token.token_type == "N_A":
        raise misconfigured(f"a credential of type {token.issued_token_type} is no bearer token")
    return header_value(token)


def header_value(token: Token) -> Secret:
    """The credential, if it is fit for a header. Raises CambioError."""
    if not one_word(token.value.reveal()):
        raise CambioError(CODE_BAD_ANSWER, "the token that was given fits no header", exchange_id=token.exchange_id)
    return token.value
