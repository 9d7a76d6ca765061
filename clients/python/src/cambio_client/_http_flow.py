"""Requests of httpx and httpx2 that prove something, and are sent once more with another proof after a 401."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from ._errors import CambioError
from ._single import Single

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    import httpx

    from ._secret import Secret


class Flow(Single):
    """The auth flow of both libraries. What is put on a request is known by its secret."""

    requires_response_body = False

    def put(self, request: Any, refused: Secret | None) -> Secret:
        """Puts the proof into the headers: another one than was refused, where there is another. Raises CambioError."""
        raise NotImplementedError

    async def aput(self, request: Any, refused: Secret | None) -> Secret:
        """put, for who must not wait in the event loop."""
        raise NotImplementedError

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        sent = self.put(request, None)
        response = yield request
        if not _renewable(request, response):
            return
        try:
            renewed = self.put(request, sent)
        except CambioError:
            return  # the 401 is the answer
        if renewed != sent:
            yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        sent = await self.aput(request, None)
        response = yield request
        if not _renewable(request, response):
            return
        try:
            renewed = await self.aput(request, sent)
        except CambioError:
            return
        if renewed != sent:
            yield request

    auth_flow = sync_auth_flow


@functools.cache
def fit(kind: type[Flow]) -> type[Any]:
    """A class of those bases that are installed, too: httpx takes no object that is not of its own class, nor does
    httpx2."""
    bases: list[type] = [kind]
    for name in ("httpx", "httpx2"):
        try:
            bases.append(importlib.import_module(name).Auth)
        except ImportError:
            continue
    return type(kind.__name__.lstrip("_"), tuple(bases), {})


def rewinder(body: Any) -> Callable[[], bool]:
    """What makes the body fit to be sent again, from where it is now, and says whether it is."""
    if body is None or isinstance(body, (str, bytes, bytearray)):
        return lambda: True
    try:
        start: int = body.tell()
    except (AttributeError, OSError, ValueError):
        return lambda: False  # a generator, a pipe

    def rewind() -> bool:
        try:
            body.seek(start)
        except (AttributeError, OSError, ValueError):
            return False
        return True

    return rewind


def _renewable(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether the proof was refused by whom it was meant for, and the body can be sent again. A redirect may have led
    elsewhere, and the proof is not sent there: it was not that which was refused."""
    if response.status_code != 401:
        return False
    asked, answered = request.url, response.request.url
    return (
        (asked.scheme, asked.host, asked.port) == (answered.scheme, answered.host, answered.port)
        and response.request.headers.get("Authorization") == request.headers.get("Authorization")
        and _repeats(request)
    )


def _repeats(request: httpx.Request) -> bool:
    try:
        _ = request.content  # what is in memory is sent as often as one likes
    except RuntimeError:  # RequestNotRead, of either library
        fields: list[Any] | None = getattr(request.stream, "fields", None)  # of a form, which rewinds its files
        return fields is not None and all(rewinder(getattr(f, "file", None))() for f in fields)
    return True
