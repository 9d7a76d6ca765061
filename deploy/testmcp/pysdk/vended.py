"""Authorization for MCP without a browser: before the first request it finds the
server's authorization server, and gets a token there by a grant of the caller's choice.
With Cambio as that server this is all that a Python client needs."""

import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx2

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def well_known(url: str, name: str) -> str:
    """RFC 8615, with the path behind the name as RFC 8414 §3.1 and RFC 9728 §3.1 say."""
    at = urlsplit(url)
    return f"{at.scheme}://{at.netloc}/.well-known/{name}{at.path.rstrip('/')}"


async def read(response: httpx2.Response) -> dict:
    """The JSON of a good answer."""
    await response.aread()
    return response.raise_for_status().json()


class Vended(httpx2.Auth):
    """Sends a token for one resource. grant is given the issuer and returns the form of
    the token request; basic is (client_id, client_secret), if the client has one."""

    def __init__(
        self,
        resource: str,
        grant: Callable[[str], Awaitable[dict[str, str]]],
        basic: tuple[str, str] | None = None,
    ):
        self.resource, self.grant, self.basic = resource, grant, basic
        self.token, self.until, self.issuer, self.endpoint = "", 0.0, "", ""

    async def async_auth_flow(self, request):
        if time.monotonic() >= self.until:
            if not self.endpoint:
                about = yield httpx2.Request("GET", well_known(self.resource, "oauth-protected-resource"))
                about = await read(about)
                if about["resource"] != self.resource:
                    raise RuntimeError("the metadata is of another resource")
                self.issuer = about["authorization_servers"][0]
                server = yield httpx2.Request("GET", well_known(self.issuer, "oauth-authorization-server"))
                server = await read(server)
                if server["issuer"] != self.issuer:
                    raise RuntimeError("the metadata is of another issuer")
                self.endpoint = server["token_endpoint"]
            form = {**await self.grant(self.issuer), "resource": self.resource}
            ask = httpx2.Request("POST", self.endpoint, data=form)
            if self.basic:
                ask = next(httpx2.BasicAuth(*self.basic).auth_flow(ask))
            answer = yield ask
            await answer.aread()
            if answer.status_code != 200:  # no second try, and no other grant: the answer would be the same
                raise RuntimeError(f"no token: {answer.json().get('error')}: {answer.json().get('error_description')}")
            answer = answer.json()
            self.token, self.until = answer["access_token"], time.monotonic() + answer.get("expires_in", 60) * 0.8
        request.headers["Authorization"] = "Bearer " + self.token
        yield request
