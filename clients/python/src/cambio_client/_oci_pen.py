"""What signs OCI requests, whoever holds the key."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from ._errors import CODE_BAD_ANSWER, CambioError
from ._oci_request import Outline
from ._secret import Secret
from ._token import Token

SEND_LEFT = 60.0
"""Seconds that a credential lives at least when something is signed with it."""
_WORD = re.compile(r"[\x21\x23-\x7e]+")


@dataclass(frozen=True, slots=True)
class Signed:
    """The headers to set on a request, and the credential that they were made with, whole: key and token never come
    from two."""

    headers: dict[str, str] = field(repr=False)
    value: Secret


class Pen(Protocol):
    """Signs. It is safe for threads, and for event loops by its `a` methods."""

    always_content: bool
    """Whether the body is covered even if nobody asks for that."""

    def sign(self, o: Outline) -> Signed:
        """The headers for a request; the credential is renewed if need be. Raises CambioError."""
        ...

    async def asign(self, o: Outline) -> Signed:
        """sign, without holding up the event loop."""
        ...

    def renew(self, value: Secret | None) -> None:
        """Gets another credential than the one that was refused; None: than the current one."""
        ...

    async def arenew(self, value: Secret) -> None:
        """renew, without holding up the event loop."""
        ...

    def region(self) -> str:
        """As the target says."""
        ...

    def security_token(self) -> str:
        """The session token of signatures. Raises CambioError where it is not here."""
        ...


def members(token: Token, *names: str) -> dict[str, str]:
    """The members of a credential of OCI (exchange/provider/oci); those that are named have to be there, and are fit
    for a header. Raises CambioError."""
    answer: dict[str, str] = {}
    try:
        found: Any = json.loads(token.value.reveal())
        if isinstance(found, dict):
            answer = {k: v for k, v in cast("dict[str, Any]", found).items() if isinstance(v, str)}
    except (ValueError, RecursionError):
        pass
    lacking = [name for name in names if not _WORD.fullmatch(answer.get(name, ""))]
    if not lacking:
        return answer
    del answer
    raise CambioError(
        CODE_BAD_ANSWER,
        f"the credential has no {' and no '.join(lacking)}: is the target one of the provider oci, and the signing that"
        " was asked for?",
        exchange_id=token.exchange_id,
    )
