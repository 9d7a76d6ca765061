from __future__ import annotations

import asyncio
import copy
import datetime
import pickle
from typing import Any, cast

import google.auth.credentials
import google.auth.exceptions
import google.auth.transport.requests
import pytest
from house import TARGET, Cambio, Gateway, ManualClock, at_once

from cambio_client import CambioError, Client, Misconfigured, async_google_credentials, google_credentials

_credentials = cast(Any, google_credentials)
_aio_credentials = cast(Any, async_google_credentials)
_google = cast(Any, google.auth.credentials)
Session = cast(Any, google.auth.transport.requests).AuthorizedSession


def test_a_refused_token_is_renewed(cambio: Cambio, gateway: Gateway) -> None:
    with Session(_credentials(cambio.source())) as session:
        assert session.get(gateway.url).status_code == 200
        gateway.revoked.update(cambio.issues)
        assert session.post(gateway.url, json={}).status_code == 200
    assert [r.bearer for r in gateway.requests] == [cambio.issues[i] for i in (0, 0, 1)]


def test_a_storm_is_one_renewal(cambio: Cambio, gateway: Gateway) -> None:
    with Session(_credentials(cambio.source())) as session:
        session.get(gateway.url)
        gateway.revoked.update(cambio.issues)
        assert at_once(8, lambda: session.get(gateway.url).status_code) == [200] * 8
    assert len(cambio.issues) == 2


def test_the_last_minutes_cost_nothing(cambio: Cambio, gateway: Gateway) -> None:
    cambio.life = 200  # all of which google-auth calls stale
    with Session(_credentials(cambio.source())) as session:
        for _ in range(5):
            assert session.get(gateway.url).status_code == 200
    assert len(cambio.issues) == 1


def test_a_token_that_ends_is_replaced(cambio: Cambio) -> None:
    clock = ManualClock()
    credentials: Any = _credentials(cambio.source(clock))
    for advance in (0, 3600 - 30):
        clock.advance(advance)
        headers: dict[str, str] = {}
        credentials.before_request(None, "GET", "https://example.com", headers)
        assert headers["authorization"] == "Bearer " + cambio.issues[-1]
    assert len(cambio.issues) == 2


def test_programs_that_hold_the_token_themselves(cambio: Cambio) -> None:
    credentials: Any = _credentials(cambio.source())
    assert credentials.token is None
    assert not credentials.valid
    credentials.refresh(None)
    assert credentials.valid
    assert credentials.token == cambio.issues[0]
    left = credentials.expiry - datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert 3500 < left.total_seconds() <= 3600
    credentials.refresh(None)
    assert credentials.token == cambio.issues[1], "who asks while it is good was refused"


def test_the_project_to_bill_and_the_universe(cambio: Cambio, gateway: Gateway) -> None:
    credentials = _credentials(cambio.source(), quota_project_id="payer", universe_domain="s3nsapis.fr")
    assert isinstance(credentials, _google.Credentials)
    assert credentials.universe_domain == "s3nsapis.fr"
    other: Any = credentials.with_quota_project("another")
    elsewhere: Any = other.with_universe_domain("googleapis.com")
    for each in (credentials, other, elsewhere):
        with Session(each) as session:
            session.get(gateway.url)
    assert [r.headers["x-goog-user-project"] for r in gateway.requests] == ["payer", "another", "another"]
    assert [c.universe_domain for c in (other, elsewhere)] == ["s3nsapis.fr", "googleapis.com"]
    assert len(cambio.issues) == 1


def test_clients_do_not_scope_it(cambio: Cambio) -> None:
    credentials: Any = _credentials(cambio.source())
    assert (
        _google.with_scopes_if_required(credentials, ["https://www.googleapis.com/auth/cloud-platform"]) is credentials
    )
    assert copy.deepcopy(credentials) is credentials


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failure_is_googles(cambio: Cambio, retryable: bool) -> None:
    cambio.down = retryable
    source = Client(cambio.url, identity=lambda: cambio.subject).token_source(TARGET if retryable else "another")
    with pytest.raises(google.auth.exceptions.RefreshError) as caught:
        _credentials(source).refresh(None)
    error: Any = caught.value
    assert isinstance(error.__cause__, CambioError)
    assert error.retryable == retryable


def test_async_credentials(cambio: Cambio, gateway: Gateway) -> None:
    from google.auth.aio.transport.sessions import AsyncAuthorizedSession

    sessions = cast(Any, AsyncAuthorizedSession)

    async def main() -> list[int]:
        session = sessions(_aio_credentials(cambio.source()))

        async def get() -> int:
            response = await session.request("GET", gateway.url)
            await response.close()
            return response.status_code

        try:
            first = await get()
            gateway.revoked.update(cambio.issues)
            return [first, *await asyncio.gather(*(get() for _ in range(5)))]
        finally:
            await session.close()

    assert asyncio.run(main()) == [200] * 6
    assert len(cambio.issues) == 2


def test_what_is_no_bearer_token_is_told(cambio: Cambio) -> None:
    cambio.token_type = "N_A"
    with pytest.raises(Misconfigured, match="no bearer token"):
        _credentials(cambio.source()).refresh(None)


def test_s39_it_shows_no_token_and_is_not_pickled(cambio: Cambio) -> None:
    credentials: Any = _credentials(cambio.source())
    credentials.refresh(None)
    assert "vended-secret" not in repr(credentials)
    with pytest.raises(TypeError, match="each process"):
        pickle.dumps(credentials)
