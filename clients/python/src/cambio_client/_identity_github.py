"""The identity of a job of GitHub Actions."""

from __future__ import annotations

import os
from urllib.parse import urlencode

from ._address import safe_url
from ._answer import object_in
from ._errors import CODE_IDENTITY, IdentityError
from ._http import HttpTransport, Transport
from ._identity import TOKEN_TYPE_JWT, IdentityToken, check_token
from ._secret import one_word

# The runner sets these for jobs with `permissions: {id-token: write}` (GitHub docs, "OpenID Connect reference").
REQUEST_URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


class GitHubActions:
    """Asks the runner for an ID token of the job with the audience given. timeout: seconds. Raises IdentityError.

    from cambio_client import Client, GitHubActions

    client = Client("https://cambio.example", identity=GitHubActions("https://cambio.example"))
    """

    def __init__(self, audience: str = "cambio", *, timeout: float = 10.0, transport: Transport | None = None) -> None:
        self.audience = audience
        self._timeout = timeout
        self._transport = transport or HttpTransport()

    def __repr__(self) -> str:
        return f"GitHubActions({self.audience!r})"

    def identity_token(self) -> IdentityToken:
        address = os.environ.get(REQUEST_URL, "")
        if not address or not os.environ.get(REQUEST_TOKEN):
            raise _fault("the job has no ID token: give it `permissions: {id-token: write}`")
        if not one_word(os.environ[REQUEST_TOKEN]):
            raise _fault(f"{REQUEST_TOKEN} is no token: leave it as the runner sets it")
        u = safe_url(address, REQUEST_URL)
        query = (u.query + "&" if u.query else "") + urlencode({"audience": self.audience})
        answer = self._transport.send(
            "GET",
            u._replace(query=query).geturl(),
            {"Authorization": "Bearer " + os.environ[REQUEST_TOKEN], "Accept": "application/json"},
            None,
            self._timeout,
        )
        if answer.status != 200:
            raise _fault(f"asking the runner for an ID token: it answers {answer.status}")
        given = object_in(answer.body).get("value")
        if not isinstance(given, str):
            raise _fault("the runner's answer is no JSON object with a value")
        return check_token(given, TOKEN_TYPE_JWT, "the runner's answer")


def _fault(description: str) -> IdentityError:
    return IdentityError(CODE_IDENTITY, description, retryable=True)
