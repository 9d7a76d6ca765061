"""Bearer tokens for httpx, httpx2 and requests, by one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from ._address import safe_origin
from ._bearer import Bearer, bearer
from ._errors import CambioError, misconfigured
from ._http_flow import Flow, fit, rewinder

if TYPE_CHECKING:
    import httpx
    import httpx2
    import requests
    from requests.auth import AuthBase

    from ._identity import IdentityLike
    from ._secret import Secret
    from ._source import TokenSource

    class HttpAuth(httpx.Auth, httpx2.Auth, AuthBase):  # pyright: ignore[reportIncompatibleMethodOverride]
        """What http_auth gives: fit for `auth=` of httpx, httpx2 and requests."""


def http_auth(source: TokenSource | IdentityLike) -> HttpAuth:
    """Puts a bearer token on each request, and renews it where the answer is 401.

    One object for httpx, httpx2 and requests, sync and async (on asyncio). Threads, tasks and event loops may share
    it, and it may be copied with the client that has it. Over a token source it sends what Cambio issued; over an
    identity, or a function that gives a token, the workload's own token, for a gateway that checks that itself.

    A token has at least 60 seconds to live when it is sent (one of a source that lives less than twice as long:
    half its life). It goes over https or to this machine, and to no other origin after a redirect. A 401 renews it,
    once for any number of requests that it was refused to, and the request is sent once more where its body can
    be. If nothing else can be had, or that is refused too, the 401 is the answer.

    The request raises CambioError where there is no token.

        import httpx
        from cambio_client import Client, http_auth

        source = Client().token_source("github-mcp")
        with httpx.Client(auth=http_auth(source)) as http:
            print(http.get("https://mcp.example/github").status_code)
    """
    return cast("HttpAuth", fit(_HttpAuth)(bearer(source)))


def is_http_auth(auth: object) -> bool:
    """Whether auth is one of http_auth."""
    return isinstance(auth, _HttpAuth)


class _HttpAuth(Flow):
    requires_request_body = False

    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    # httpx and httpx2

    def put(self, request: httpx.Request, refused: Secret | None) -> Secret:
        _check(request.url.scheme, request.url.host)
        token = self._bearer.token(refused)
        request.headers["Authorization"] = _header(token)
        return token

    async def aput(self, request: httpx.Request, refused: Secret | None) -> Secret:
        _check(request.url.scheme, request.url.host)
        token = await self._bearer.atoken(refused)
        request.headers["Authorization"] = _header(token)
        return token

    # requests, which takes whatever can be called

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        origin = _origin(request.url)
        _check(origin[0], origin[1])
        sent = self._bearer.token()
        request.headers["Authorization"] = _header(sent)
        rewind = rewinder(request.body)  # now: later its body has been read

        def renew(response: requests.Response, **options: Any) -> requests.Response:
            if response.status_code != 401 or _origin(response.request.url) != origin or not rewind():
                return response
            try:
                renewed = self._bearer.token(rejected=sent)
            except CambioError:
                return response
            return response if renewed == sent else _again(response, renewed, options)

        request.register_hook("response", renew)
        return request


def _again(response: requests.Response, token: Secret, options: dict[str, Any]) -> requests.Response:
    """Sends the request once more, as requests' own HTTPDigestAuth does: by the connection and not the session, so
    that the hook does not see that answer."""
    _ = response.content  # so that the connection serves again
    response.close()
    request = response.request.copy()
    request.headers["Authorization"] = _header(token)
    connection: Any = cast("Any", response).connection
    answer: requests.Response = connection.send(request, **options)
    answer.history.append(response)
    answer.request = request
    return answer


def _origin(url: str | None) -> tuple[str, str, int | None]:
    u = urlsplit(url or "")
    return u.scheme, u.hostname or "", u.port or _PORTS.get(u.scheme)


_PORTS = {"http": 80, "https": 443}


def _header(token: Secret) -> str:
    return "Bearer " + token.reveal()


def _check(scheme: str, host: str) -> None:
    if not safe_origin(scheme, host):
        raise misconfigured("tokens go over https, or to this machine: use an https URL")
