"""What can go wrong, under one root."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

REDACTED = "REDACTED"
"""What stands in a secret's place."""
CODE_IDENTITY = "identity_unavailable"
"""The caller's own token could not be had."""
CODE_UNREACHABLE = "unreachable"
"""No answer of the server came."""
CODE_BAD_ANSWER = "bad_answer"
"""What answered does not speak as a Cambio server does."""
CODE_MISCONFIGURED = "misconfigured"
"""What the client was told cannot work."""
CODE_FAILED = "failed"
"""A transport that was given to the client broke."""


class CambioError(Exception):
    """Why there is no credential. It holds no token, and can be pickled.

    Its text is one line: the code, what to change, and the id to ask about.

        from cambio_client import CambioError, Client

        try:
            Client().exchange("github-mcp")
        except CambioError as err:
            print(err, "later" if err.retryable else "never", err.retry_after, "s")
    """

    code: str
    """The server's error (RFC 6749 section 5.2), such as "invalid_target", or one of this package."""
    description: str
    """What to change. It may be empty."""
    status: int
    """The HTTP status; 0 if no answer came."""
    exchange_id: str
    """Finds the attempt in the server's ledger and log; empty if none began."""
    retryable: bool
    """Whether the same request may succeed later."""
    retry_after: float
    """Seconds that the server asks to wait; 0 if it does not say."""

    def __init__(
        self,
        code: str,
        description: str = "",
        *,
        status: int = 0,
        exchange_id: str = "",
        retryable: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        self.code, self.description, self.status = code, description, status
        self.exchange_id, self.retryable, self.retry_after = exchange_id, retryable, retry_after
        super().__init__(code, description)

    def __str__(self) -> str:
        text = "cambio: " + self.code
        if self.description:
            text += ": " + self.description
        if self.exchange_id:
            text += f" (exchange {self.exchange_id})"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.description), self.__dict__

    def again(self) -> CambioError:
        """The same error as another object: one that is raised many times would gather tracebacks without end."""
        return type(self)(
            self.code,
            self.description,
            status=self.status,
            exchange_id=self.exchange_id,
            retryable=self.retryable,
            retry_after=self.retry_after,
        )


class IdentityError(CambioError):
    """The workload's own token cannot be had: a file is missing or half written, or a provider refuses. It is
    retryable."""


class ExchangeRefused(CambioError):
    """The server answered, and gave no credential: code is its word for why, and status what it came with."""


class ServerUnreachable(CambioError):
    """No answer came, within the timeout. It is retryable."""


class Misconfigured(CambioError):
    """What the client was told cannot work, such as a URL that is none."""


def misconfigured(description: str) -> Misconfigured:
    """A Misconfigured with its code."""
    return Misconfigured(CODE_MISCONFIGURED, description)


def quiet(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets, should it repeat them: a server that is broken, or means ill, answers with what it
    was sent, and its words end up in logs."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    return text


def plain(text: str) -> str:
    """A text of the network, fit for one line of a log: 512 bytes at most, and nothing that moves a cursor."""
    text = "".join(" " if _moves(c) else c for c in text[:2048])
    return text.encode("utf-8", "ignore")[:512].decode("utf-8", "ignore")


def _moves(c: str) -> bool:
    return c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029"
