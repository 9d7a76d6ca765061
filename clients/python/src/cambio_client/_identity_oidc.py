"""The identity of a client of an OpenID provider."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Sequence
from urllib.parse import quote_plus, urlencode

from ._address import safe_url
from ._answer import object_in
from ._clock import Clock, SystemClock
from ._errors import CODE_IDENTITY, IdentityError, misconfigured, plain, quiet
from ._fork import survives_fork
from ._http import HttpTransport, Response, Transport
from ._identity import TOKEN_TYPE_ACCESS_TOKEN, IdentityToken, check_token
from ._secret import Secret
from ._single import Single

_MARGIN = 60.0
"""Seconds before its end from which a token is not handed out any more."""


def basic(client_id: str, secret: str) -> str:
    """The header of client_secret_basic: both are form-encoded first (RFC 6749 section 2.3.1)."""
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def secret_of(given: Callable[[], str | Secret] | str | Secret) -> Callable[[], Secret]:
    """A function that gives the secret anew each time."""

    def get() -> Secret:
        value = given() if callable(given) else given
        return value if isinstance(value, Secret) else Secret(value)

    if callable(given):
        return get
    fixed = given if isinstance(given, Secret) else Secret(given)
    return lambda: fixed


class OidcClientCredentials(Single):
    """Gets an access token of the workload's own from its OpenID provider (RFC 6749 section 4.4), and keeps it until
    a minute before it ends. Many callers at once cause one request.

    token_url: of the provider; https, save on loopback. client_secret: the secret, or a function that gives it, so
    that it can be rotated. audience: is sent as `audience`, which many providers want. timeout: seconds. The
    secret goes by client_secret_basic; a provider that answers invalid_client is asked by client_secret_post.
    Raises Misconfigured, and IdentityError when it is asked for the token.

        from cambio_client import Client, OidcClientCredentials

        secret = lambda: open("/var/run/secrets/my-client").read().strip()
        identity = OidcClientCredentials("https://id.example/oauth2/token", "my-client", secret)
        client = Client("https://cambio.example", identity=identity)
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: Callable[[], str | Secret] | str | Secret,
        *,
        scopes: Sequence[str] = (),
        audience: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = 10.0,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        given, self._secret = bool(client_secret), secret_of(client_secret)
        del client_secret  # tools show the variables of a frame that fails
        safe_url(token_url, "token URL")
        if not client_id or not given:
            raise misconfigured("client credentials want a client id and a secret")
        self.token_url, self.client_id = token_url, client_id
        self._form = {"grant_type": "client_credentials"}
        if scopes:
            self._form["scope"] = " ".join([scopes] if isinstance(scopes, str) else scopes)
        if audience:
            self._form["audience"] = audience
        self._transport = transport or HttpTransport(ca_file)
        self._timeout = timeout
        self._clock: Clock = clock or SystemClock()
        self._by_post = False
        self._held: tuple[IdentityToken, float] | None = None
        self._turn = threading.Lock()
        survives_fork(self)

    def __repr__(self) -> str:
        return f"OidcClientCredentials({self.token_url!r}, {self.client_id!r})"

    def after_fork(self) -> None:
        self._turn = threading.Lock()

    def identity_token(self) -> IdentityToken:
        if token := self._good():
            return token
        with self._turn:
            if token := self._good():
                return token
            began, wall = self._clock.monotonic(), self._clock.time()
            answer = self._ask()
            if answer.status != 200:
                word = quiet(_error(answer), [self._secret().reveal()])
                said = f"the OpenID provider answers {answer.status} {word!r}"
                raise IdentityError(CODE_IDENTITY, said + ": check client id, secret and scopes", retryable=True)
            text, life = _read(answer)
            token = check_token(text, TOKEN_TYPE_ACCESS_TOKEN, "the OpenID provider's answer")
            del text
            if life > 0:
                token = IdentityToken(token.value, token.token_type, wall + life)
                self._held = token, began + life - _MARGIN
            return token

    def forget(self, rejected: Secret) -> None:
        """The rejected token is not given again; another one that is held stays."""
        held = self._held
        if held is not None and held[0].value == rejected:
            self._held = None

    def _good(self) -> IdentityToken | None:
        held = self._held
        return held[0] if held is not None and self._clock.monotonic() < held[1] else None

    def _ask(self) -> Response:
        if not self._by_post:
            headers = {"Authorization": basic(self.client_id, self._secret().reveal())}
            answer = self._post(self._form, headers)
            if answer.status not in (400, 401) or _error(answer) != "invalid_client":
                return answer
        secret = {"client_id": self.client_id, "client_secret": self._secret().reveal()}
        answer = self._post({**self._form, **secret}, {})
        self._by_post = answer.status == 200
        return answer

    def _post(self, form: dict[str, str], headers: dict[str, str]) -> Response:
        return self._transport.send(
            "POST",
            self.token_url,
            {**headers, "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            urlencode(form).encode(),
            self._timeout,
        )


def _error(answer: Response) -> str:
    found = object_in(answer.body).get("error")
    return plain(found) if isinstance(found, str) else ""


def _read(answer: Response) -> tuple[str, float]:
    """The token, and its life in seconds; 0: the provider does not say."""
    found = object_in(answer.body)
    text, life = found.get("access_token"), found.get("expires_in")
    if not isinstance(text, str):
        del text, found
        raise IdentityError(CODE_IDENTITY, "the OpenID provider's answer is no token", retryable=True)
    if isinstance(life, str) and life.isascii() and life.isdigit() and len(life) < 12:
        life = int(life)  # some providers write a number as text
    if not isinstance(life, (int, float)) or isinstance(life, bool) or not 0 < life <= 1 << 30:
        life = 0
    return text, float(life)
