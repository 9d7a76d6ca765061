"""A value that does not print."""

from __future__ import annotations

import hmac
import re
from typing import NoReturn

from ._errors import REDACTED

_WORD = re.compile(r"[!-~]+")


class Secret:
    """A token or a password. `str`, `repr`, `format` and f-strings give REDACTED; only `reveal` gives the value.

    It cannot be pickled, since a pickle is a file in the end. Copies are the object itself.

        from cambio_client import Secret

        secret = Secret("hunter2")
        print(secret, secret.reveal() == "hunter2", secret == Secret("hunter2"))  # REDACTED True True
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value, for the one place that has to send it on."""
        return self.__value

    def __bool__(self) -> bool:
        return self.__value != ""

    def __eq__(self, other: object) -> bool:
        """Compares with another Secret, in constant time for values of equal length."""
        if not isinstance(other, Secret):
            return NotImplemented
        return same(self.__value, other.__value)

    # Not hashable: a hash table compares in a time that tells something.
    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled: hand on the client's settings, and make a client there")


def one_word(text: str) -> bool:
    """Whether a text can stand in a header as it is: ASCII without blanks. HTTP libraries quote what they refuse."""
    return _WORD.fullmatch(text) is not None


def same(one: str, other: str) -> bool:
    """Whether two values are equal, in constant time for values of equal length."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
