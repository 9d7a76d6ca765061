"""What the tests of the core share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from fake_cambio import FakeCambio, TestClock, jwt, serving
from hypothesis import settings

import cambio_client

settings.register_profile("cambio", database=None, deadline=None, max_examples=200)
settings.load_profile("cambio")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment steers the client."""
    for name in os.environ:
        if name.startswith(("CAMBIO_", "ACTIONS_", "SPIFFE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def own() -> str:
    """The workload's own token."""
    return jwt("workload")


@pytest.fixture
def cambio(own: str) -> Iterator[FakeCambio]:
    fake = FakeCambio()
    fake.subjects = {own}
    with serving(fake) as served:
        yield served


@pytest.fixture
def client(cambio: FakeCambio, clock: TestClock, own: str) -> cambio_client.Client:
    return cambio_client.Client(cambio.url, identity=lambda: own, clock=clock)
