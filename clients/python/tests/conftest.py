from __future__ import annotations

from collections.abc import Iterator

import pytest
from house import Cambio, Gateway, serving


@pytest.fixture
def cambio() -> Iterator[Cambio]:
    with serving(Cambio()) as server:
        yield server


@pytest.fixture
def gateway(cambio: Cambio) -> Iterator[Gateway]:
    """A service that takes what Cambio issued."""
    with serving(Gateway(lambda token: token in cambio.issues)) as server:
        yield server
