"""What a forked child has to make anew: a lock that another thread held would stay locked forever."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forks(Protocol):
    """Something with locks."""

    def after_fork(self) -> None:
        """Is called in the child, before anything else runs there."""
        ...


_all: WeakSet[Forks] = WeakSet()


def survives_fork(thing: Forks) -> None:
    """Has thing.after_fork called in each child."""
    _all.add(thing)


def _in_child() -> None:
    for thing in list(_all):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
