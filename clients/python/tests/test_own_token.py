"""http_auth over an identity: the workload's own token, for a gateway that checks that itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from house import Gateway, ManualClock, at_once, jwt, serving
from test_http_auth import CLIENTS, Post

from cambio_client import (
    IdentityError,
    IdentityToken,
    Secret,
    ServiceAccountFile,
    http_auth,
)
from cambio_client._bearer import bearer


@pytest.fixture(params=CLIENTS)
def post(request: pytest.FixtureRequest) -> Post:
    """Posts by one of the libraries."""
    return CLIENTS[request.param]


def _judge(tokens: set[str]) -> Gateway:
    return Gateway(lambda token: token in tokens)


def test_the_workloads_own_token_is_sent(tmp_path: Path, post: Post) -> None:
    token = jwt(exp=int(time.time()) + 3600)
    (tmp_path / "token").write_text(token)
    with serving(_judge({token})) as gateway:
        assert post(http_auth(ServiceAccountFile(tmp_path / "token")), gateway.url).status_code == 200


def test_an_own_token_is_kept_until_its_last_minute() -> None:
    clock, given = ManualClock(), list[str]()

    def identity() -> str:
        given.append(jwt(exp=int(clock.time()) + 600))
        return given[-1]

    own = bearer(identity, clock)
    assert [own.token().reveal() for _ in range(3)] == given * 3
    clock.advance(539 - 1)
    assert own.token().reveal() == given[0]
    clock.advance(3)
    assert own.token().reveal() == given[1]
    assert len(given) == 2


def test_an_own_token_of_unknown_life_is_not_kept() -> None:
    given = list[str]()

    def identity() -> str:
        given.append(jwt())
        return given[-1]

    own = bearer(identity)
    assert [own.token().reveal(), own.token().reveal()] == given


def test_an_own_token_at_its_end_is_not_sent(post: Post) -> None:
    with serving(_judge(set())) as gateway:
        with pytest.raises(IdentityError, match="renewed"):
            post(http_auth(lambda: jwt(exp=int(time.time()) + 30)), gateway.url)
        assert gateway.requests == []


def test_a_refused_own_token_is_asked_for_anew_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    old, new = (jwt(exp=int(time.time()) + life) for life in (3600, 7200))
    file.write_text(old)
    auth = http_auth(ServiceAccountFile(file))
    with serving(_judge({old})) as gateway:
        assert CLIENTS["httpx"](auth, gateway.url).status_code == 200
        file.write_text(new)
        gateway.accepted = new.__eq__
        assert at_once(16, lambda: CLIENTS["httpx"](auth, gateway.url).status_code) == [200] * 16
        assert CLIENTS["httpx"](auth, gateway.url).status_code == 200


class _Keeps:
    """An identity that keeps its token, as those that ask a provider do."""

    def __init__(self) -> None:
        self.asked = 0
        self._held: IdentityToken | None = None

    def identity_token(self) -> IdentityToken:
        if self._held is None:
            self.asked += 1
            self._held = IdentityToken(Secret(f"own-{self.asked}"), expires_at=time.time() + 3600)
        return self._held

    def forget(self, rejected: Secret) -> None:
        if self._held is not None and self._held.value == rejected:
            self._held = None


def test_an_identity_that_keeps_its_token_forgets_what_was_refused(post: Post) -> None:
    identity = _Keeps()
    auth = http_auth(identity)
    with serving(_judge({"own-1", "own-2"})) as gateway:
        post(auth, gateway.url)
        gateway.revoked.add("own-1")
        assert post(auth, gateway.url).status_code == 200
    assert identity.asked == 2


# The object
