from __future__ import annotations

import asyncio
import copy
import importlib
import io
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from house import TARGET, Answer, Cambio, Gateway, ManualClock, Request, at_once, jwt, serving

from cambio_client import (
    CambioError,
    Client,
    Misconfigured,
    http_auth,
)
from cambio_client._bearer import bearer

if TYPE_CHECKING:
    from cambio_client._http_auth import HttpAuth

httpx2: Any = importlib.import_module("httpx2")  # whose types want a later Python
Post = Callable[..., Any]


def _httpx(auth: HttpAuth, url: str, **options: Any) -> Any:
    with httpx.Client(auth=auth, trust_env=False, verify=False, follow_redirects=True) as client:
        return client.post(url, **options)


def _httpx2(auth: HttpAuth, url: str, **options: Any) -> Any:
    with httpx2.Client(auth=auth, trust_env=False, verify=False, follow_redirects=True) as client:
        return client.post(url, **options)


def _httpx_async(auth: HttpAuth, url: str, **options: Any) -> Any:
    async def post() -> Any:
        async with httpx.AsyncClient(auth=auth, trust_env=False, verify=False, follow_redirects=True) as client:
            return await client.post(url, **options)

    return asyncio.run(post())


def _httpx2_async(auth: HttpAuth, url: str, **options: Any) -> Any:
    async def post() -> Any:
        async with httpx2.AsyncClient(auth=auth, trust_env=False, verify=False, follow_redirects=True) as client:
            return await client.post(url, **options)

    return asyncio.run(post())


def _requests(auth: HttpAuth, url: str, **options: Any) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        if "content" in options:
            options["data"] = options.pop("content")
        return session.post(url, auth=auth, **options)


# Everything here is plain http: to load the certificates of the world for each client would take most of the time.
CLIENTS = {
    "httpx": _httpx,
    "httpx async": _httpx_async,
    "httpx2": _httpx2,
    "httpx2 async": _httpx2_async,
    "requests": _requests,
}


def _nobody(token: str) -> bool:
    return False


@pytest.fixture(params=CLIENTS)
def post(request: pytest.FixtureRequest) -> Post:
    """Posts by one of the libraries."""
    return CLIENTS[request.param]


def test_one_object_serves_every_library_with_one_exchange(cambio: Cambio, gateway: Gateway) -> None:
    auth = http_auth(cambio.source())
    for post in CLIENTS.values():
        assert post(auth, gateway.url).status_code == 200
    assert len(cambio.issues) == 1
    assert len(gateway.requests) == len(CLIENTS)


def test_a_refused_token_is_renewed_and_the_body_sent_again(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    auth = http_auth(cambio.source())
    post(auth, gateway.url)
    gateway.revoked.update(cambio.issues)

    assert post(auth, gateway.url + "/tools?a=b", content=b"a question").status_code == 200

    assert gateway.statuses == [401, 401, 200]
    assert [(r.path, r.body) for r in gateway.requests[1:]] == [("/tools?a=b", b"a question")] * 2
    assert len(cambio.issues) == 2


def test_who_refuses_the_new_token_too_is_the_answer(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    gateway.accepted = _nobody
    auth = http_auth(cambio.source())

    response = post(auth, gateway.url)

    assert (response.status_code, len(gateway.requests), len(cambio.issues)) == (401, 2, 2)
    assert b"who is that?" in response.content
    post(auth, gateway.url)
    assert len(cambio.issues) == 2, "it is not for the token's age"


def test_where_nothing_new_can_be_had_the_401_is_the_answer(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    clock = ManualClock()
    auth = http_auth(cambio.source(clock))
    post(auth, gateway.url)
    gateway.revoked.update(cambio.issues)
    cambio.down = True

    assert post(auth, gateway.url).status_code == 401
    assert len(gateway.requests) == 2


def test_without_a_token_the_request_fails_and_is_not_sent(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    source = Client(cambio.url, identity=lambda: jwt(sub="another")).token_source(TARGET)

    with pytest.raises(CambioError, match="not what was expected"):
        post(http_auth(source), gateway.url)
    assert gateway.requests == []


@pytest.mark.parametrize("library", ["httpx", "httpx2", "requests"])
def test_a_storm_of_refusals_is_one_renewal(cambio: Cambio, gateway: Gateway, library: str) -> None:
    auth = http_auth(cambio.source())
    post = CLIENTS[library]
    post(auth, gateway.url)
    gateway.revoked.update(cambio.issues)

    answers = at_once(32, lambda: post(auth, gateway.url).status_code)

    assert answers == [200] * 32
    assert len(cambio.issues) == 2


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_storm_of_tasks_is_one_renewal(cambio: Cambio, gateway: Gateway, library: Any) -> None:
    auth = http_auth(cambio.source())

    async def storm() -> list[int]:
        async with library.AsyncClient(auth=auth, trust_env=False, verify=False, timeout=30) as client:
            await client.get(gateway.url)
            gateway.revoked.update(cambio.issues)
            return [r.status_code for r in await asyncio.gather(*(client.get(gateway.url) for _ in range(100)))]

    assert asyncio.run(storm()) == [200] * 100
    assert len(cambio.issues) == 2


# Redirects


def test_no_other_origin_gets_the_token(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    with serving(Gateway(_nobody)) as other:
        gateway.reply = lambda _: Answer(307, headers={"Location": other.url + "/elsewhere"})

        assert post(http_auth(cambio.source()), gateway.url, content=b"x").status_code == 401

        assert [r.headers.get("authorization") for r in other.requests] == [None]
        assert len(gateway.requests) == 1, "the other's refusal says nothing of the token"
        assert len(cambio.issues) == 1


def test_a_refusal_after_a_redirect_within_the_origin_renews(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    def reply(request: Request) -> Answer:
        return Answer() if request.path == "/there" else Answer(307, headers={"Location": "/there"})

    gateway.reply = reply
    auth = http_auth(cambio.source())
    assert post(auth, gateway.url, content=b"x").status_code == 200

    def accepted(token: str) -> bool:
        return token == cambio.issues[-1] and not (gateway.requests[-1].path == "/there" and len(cambio.issues) == 1)

    gateway.accepted = accepted

    assert post(auth, gateway.url, content=b"x").status_code == 200
    assert len(cambio.issues) == 2
    assert gateway.requests[-1].body == b"x"


@pytest.mark.parametrize(
    "url", ["http://gateway.example/", "http://10.0.0.1/", "http://localhost.example/", "http://127.0.0.1.example/"]
)
def test_no_token_goes_over_plain_http(cambio: Cambio, post: Post, url: str) -> None:
    with pytest.raises(Misconfigured, match="https"):
        post(http_auth(cambio.source()), url)
    assert cambio.issues == []


# Bodies


def _parts() -> Iterator[bytes]:
    yield from (b"one", b"two")


async def _async_parts() -> Any:
    for part in _parts():
        yield part


def _refusing(cambio: Cambio, gateway: Gateway) -> HttpAuth:
    """Auth whose token is refused, and whose next one is not."""
    source = cambio.source()
    gateway.revoked.add(source.token().value.reveal())
    return http_auth(source)


@pytest.mark.parametrize("library", CLIENTS)
def test_a_body_that_is_gone_is_not_sent_again(cambio: Cambio, gateway: Gateway, library: str) -> None:
    body: Any = _async_parts() if "async" in library else _parts()

    response = CLIENTS[library](_refusing(cambio, gateway), gateway.url, content=body)

    assert response.status_code == 401
    assert [r.body for r in gateway.requests] == [b"onetwo"]
    assert len(cambio.issues) == 1, "nothing is renewed for nothing"


def test_requests_sends_a_file_again_from_where_it_was(cambio: Cambio, gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"header and body")
    with open(tmp_path / "body", "rb") as f:
        f.seek(7)
        assert _requests(_refusing(cambio, gateway), gateway.url, data=f).status_code == 200
    assert [r.body for r in gateway.requests] == [b"and body"] * 2


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_httpx_does_not_send_a_file_again(cambio: Cambio, gateway: Gateway, library: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"body")
    with open(tmp_path / "body", "rb") as f:  # it would be sent from its end, as nothing
        assert CLIENTS[library](_refusing(cambio, gateway), gateway.url, content=f).status_code == 401
    assert [r.body for r in gateway.requests] == [b"body"]


def test_a_form_with_files_is_sent_again(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    auth = _refusing(cambio, gateway)

    assert post(auth, gateway.url, files={"audio": ("a.wav", io.BytesIO(b"sound"))}, data={"n": "1"}).status_code == 200

    first, second = gateway.requests
    assert first.body == second.body
    assert b"sound" in second.body


class _Pipe(io.RawIOBase):
    def __init__(self) -> None:
        self._left = [b"sound"]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._left.pop() if self._left else b""


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_form_with_a_pipe_is_not(cambio: Cambio, gateway: Gateway, library: str) -> None:
    response = CLIENTS[library](_refusing(cambio, gateway), gateway.url, files={"audio": ("a.wav", _Pipe())})
    assert (response.status_code, len(gateway.requests)) == (401, 1)


# Time


def test_no_token_is_sent_in_its_last_minute(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    clock = ManualClock()
    auth = http_auth(cambio.source(clock))
    post(auth, gateway.url)
    clock.advance(3600 - 59)
    post(auth, gateway.url)
    assert [r.bearer for r in gateway.requests] == cambio.issues
    assert len(cambio.issues) == 2


def test_of_a_short_life_half_is_enough(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    clock, cambio.life = ManualClock(), 60
    auth = http_auth(cambio.source(clock))
    for _ in range(3):
        post(auth, gateway.url)
    assert len(cambio.issues) == 1


def test_the_event_loop_goes_on_while_an_exchange_does(cambio: Cambio, gateway: Gateway) -> None:
    cambio.gate.clear()

    async def main() -> int:
        async with httpx2.AsyncClient(auth=http_auth(cambio.source()), trust_env=False, verify=False) as client:
            call = asyncio.create_task(client.get(gateway.url))
            await asyncio.to_thread(cambio.asked.acquire)
            assert not call.done()
            cambio.gate.set()  # which nobody would do if the loop stood still
            return (await call).status_code

    assert asyncio.run(main()) == 200


def test_a_cancelled_task_leaves_the_exchange_to_others(cambio: Cambio, gateway: Gateway) -> None:
    cambio.gate.clear()
    auth = http_auth(cambio.source())

    async def main() -> int:
        async with httpx.AsyncClient(auth=auth, trust_env=False, verify=False) as client:
            first, second = (asyncio.create_task(client.get(gateway.url)) for _ in range(2))
            await asyncio.to_thread(cambio.asked.acquire)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            cambio.gate.set()
            return (await second).status_code

    assert asyncio.run(main()) == 200
    assert len(cambio.issues) == 1


def test_loops_in_several_threads_share_it(cambio: Cambio, gateway: Gateway) -> None:
    auth = http_auth(cambio.source())
    assert at_once(8, lambda: _httpx_async(auth, gateway.url).status_code) == [200] * 8
    assert len(cambio.issues) == 1


# An identity alone


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_shares_what_is_held(cambio: Cambio, gateway: Gateway, copied: Callable[[Any], Any]) -> None:
    auth = http_auth(cambio.source())
    _httpx(auth, gateway.url)
    assert _httpx(copied({"auth": auth})["auth"], gateway.url).status_code == 200
    assert len(cambio.issues) == 1


def test_s39_it_shows_no_token_and_is_not_pickled(cambio: Cambio) -> None:
    source = cambio.source()
    auth = http_auth(source)
    source.token()
    for text in (repr(auth), str(auth), repr(vars(auth)), repr(bearer(cambio.subject))):
        assert "vended-secret" not in text
        assert "eyJ" not in text
    with pytest.raises(TypeError, match="each process"):
        pickle.dumps(auth)


def test_what_is_no_bearer_token_is_not_sent(cambio: Cambio, gateway: Gateway, post: Post) -> None:
    cambio.token_type, cambio.issued = "N_A", "urn:cambio:token-type:aws-credentials"
    with pytest.raises(Misconfigured, match="aws-credentials is no bearer token"):
        post(http_auth(cambio.source()), gateway.url)
    assert gateway.requests == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_uses_what_is_held_and_renews(cambio: Cambio, gateway: Gateway) -> None:
    auth = http_auth(cambio.source())
    _requests(auth, gateway.url)
    gateway.revoked.update(cambio.issues)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if _requests(auth, gateway.url).status_code == 200 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(cambio.issues) == 2


def test_s39_no_log_of_the_libraries_shows_a_token(
    cambio: Cambio, gateway: Gateway, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """What a library logs when all of it is on. http.client's own debugging prints what is sent, and is left off."""
    with caplog.at_level(logging.DEBUG):
        post(http_auth(cambio.source()), gateway.url)
        gateway.revoked.update(cambio.issues)
        post(http_auth(cambio.source()), gateway.url)
    assert gateway.url.rpartition(":")[2] in caplog.text
    assert cambio.subject not in caplog.text
    assert not [token for token in cambio.issues if token in caplog.text]


def test_s39_a_token_that_fits_no_header_is_neither_sent_nor_shown(
    cambio: Cambio, gateway: Gateway, post: Post
) -> None:
    cambio.make = lambda: "vended\r\nX-Injected: yes"
    with pytest.raises(CambioError, match="fits no header") as caught:
        post(http_auth(cambio.source()), gateway.url)
    assert "vended" not in str(caught.value)
    assert gateway.requests == []
