"""Objects that hold a credential: one each, never a second of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Self


class Single:
    """A base whose copies are the object itself, and that does not print what it holds.

    Frameworks copy clients, and deeply. A copy of what holds a credential would have a cache of its own, and ask
    again for what is there; and a pickle is a file in the end.
    """

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a credential and is not pickled: make one in each process")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
