"""Exchanges tokens at one Cambio server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from ._address import safe_url
from ._answer import credential, refusal
from ._clock import Clock, SystemClock
from ._crew import arrival, crew
from ._environment import from_environment
from ._errors import (
    CODE_BAD_ANSWER,
    CODE_IDENTITY,
    CambioError,
    ExchangeRefused,
    IdentityError,
    misconfigured,
    plain,
)
from ._fork import survives_fork
from ._http import HttpTransport, Transport, post
from ._identity import IdentityLike, IdentityToken, as_identity, ask
from ._identity_oidc import basic, secret_of
from ._patience import patiently
from ._request import Request, request
from ._rest import Rest
from ._secret import Secret
from ._single import Single
from ._source import TokenSource
from ._token import Token

MAX_SOURCES = 1024
"""Sources that a client keeps by itself."""


@dataclass(frozen=True, slots=True)
class _Proof:
    """The tokens of one exchange."""

    subject: IdentityToken
    actor: IdentityToken | None
    passthrough: IdentityToken | None


class Client(Single):
    """Exchanges tokens at one Cambio server. It is safe for threads, event loops and forks, and is its own copy.

    url: the server's issuer URL, https save on loopback; None: CAMBIO_URL. identity: what the workload is known by;
    None: from_environment(). client_id, client_secret: of a registered client; the secret may be a function, which is
    asked for each exchange; None: CAMBIO_CLIENT_ID and the file CAMBIO_CLIENT_SECRET_FILE. ca_file: PEM certificates
    to trust in place of the system's; None: CAMBIO_CA_FILE. timeout: seconds for one exchange, retries included.
    transport: sends the requests in place of http.client. clock: the time, for tests. Raises Misconfigured.

        from cambio_client import Client, ServiceAccountFile

        client = Client("https://cambio.example", identity=ServiceAccountFile("/var/run/secrets/cambio/token"))
        print(client.exchange("github-mcp", lifetime=600, reason="ticket 4711"))
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        identity: IdentityLike | None = None,
        client_id: str | None = None,
        client_secret: Callable[[], str | Secret] | str | Secret | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = 10.0,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        own = None if identity is None else as_identity(identity)
        secret = None if client_secret is None else secret_of(client_secret)
        del identity, client_secret  # tools show the variables of a frame that fails
        url = url or os.environ.get("CAMBIO_URL")
        if not url:
            raise misconfigured("no server: give its URL, or set CAMBIO_URL")
        if safe_url(url, "server").query or "?" in url:
            raise misconfigured("server: the URL has no query")
        self._origin = url.rstrip("/")
        self._identity = from_environment() if own is None else own
        if client_id is None and secret is None:
            client_id, secret = _client_from_environment()
        if (client_id is None) != (secret is None):
            raise misconfigured("a registered client has both: give client_id and client_secret")
        self._client_id = client_id
        self._client_secret = secret
        self._timeout = timeout
        self._transport = transport or HttpTransport(ca_file or os.environ.get("CAMBIO_CA_FILE") or None)
        self._clock: Clock = clock or SystemClock()
        self._sources: dict[str, TokenSource] = {}
        self._lock = threading.Lock()
        survives_fork(self)

    @property
    def url(self) -> str:
        """The server's, without a slash at its end."""
        return self._origin

    @property
    def identity(self) -> object:
        """What the client is known by: an Identity."""
        return self._identity

    @property
    def clock(self) -> Clock:
        """Where the client takes the time from."""
        return self._clock

    def rest(self) -> Rest:
        """The server's REST face, asked as the client's identity."""
        return Rest(self._origin, self._identity, self._transport, self._clock, self._timeout)

    def __repr__(self) -> str:
        return f"Client({self._origin!r}, identity={self._identity!r})"

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def token_source(
        self,
        target: str | None = None,
        *,
        resource: str | None = None,
        scopes: Sequence[str] = (),
        lifetime: float | timedelta | None = None,
        reason: str | None = None,
        subject: IdentityLike | None = None,
        actor: IdentityLike | None = None,
        passthrough: IdentityLike | None = None,
        requested_token_type: str | None = None,
        public_key: bytes | None = None,
    ) -> TokenSource:
        """What keeps the credential of a request. The arguments are those of exchange.

        Equal requests without tokens of their own share a source, so asking for it again is cheap; a source for one
        user's token is for the caller to keep.
        """
        asked = request(
            target, resource, scopes, lifetime, reason, subject, actor, passthrough, requested_token_type, public_key
        )
        if not asked.shared():
            return self._source(asked)
        key = asked.key()
        with self._lock:
            source = self._sources.get(key)
            if source is None:
                source = self._source(asked)
                if len(self._sources) < MAX_SOURCES:
                    self._sources[key] = source
            return source

    def _source(self, asked: Request) -> TokenSource:
        return TokenSource(lambda rejected: self._lasting(asked.without(rejected)), asked.name(), self._clock)

    def exchange(
        self,
        target: str | None = None,
        *,
        resource: str | None = None,
        scopes: Sequence[str] = (),
        lifetime: float | timedelta | None = None,
        reason: str | None = None,
        subject: IdentityLike | None = None,
        actor: IdentityLike | None = None,
        passthrough: IdentityLike | None = None,
        requested_token_type: str | None = None,
        public_key: bytes | None = None,
    ) -> Token:
        """Asks the server, each time it is called.

        What can be had once more is asked for once more: a server that is busy or cannot be reached, and a token file
        that was replaced meanwhile. Raises CambioError.

        target: name of the target; resource: its URI (RFC 8707); one of them is needed, unless the server has a
        default for the client. scopes: none: what the policy gives. lifetime: in seconds; None: what the server
        gives; more than the policy allows is refused. reason: one line of at most 512 bytes for the ledger. subject:
        whom the credential is for; None: the client's own identity; with a subject that is the actor, unless actor
        names another. passthrough: a second token of the subject, which the target hands on. requested_token_type:
        None: what the target issues. public_key: a SubjectPublicKeyInfo in DER, for targets that bind to a key.
        """
        asked = request(
            target, resource, scopes, lifetime, reason, subject, actor, passthrough, requested_token_type, public_key
        )
        del subject, actor, passthrough  # tools show the variables of a frame that fails
        return self._exchange(asked)

    async def aexchange(
        self,
        target: str | None = None,
        *,
        resource: str | None = None,
        scopes: Sequence[str] = (),
        lifetime: float | timedelta | None = None,
        reason: str | None = None,
        subject: IdentityLike | None = None,
        actor: IdentityLike | None = None,
        passthrough: IdentityLike | None = None,
        requested_token_type: str | None = None,
        public_key: bytes | None = None,
    ) -> Token:
        """exchange, in a thread. Where the caller is cancelled the exchange goes on to its end."""
        asked = request(
            target, resource, scopes, lifetime, reason, subject, actor, passthrough, requested_token_type, public_key
        )
        del subject, actor, passthrough
        return await arrival(crew.start(lambda: self._exchange(asked)))

    def _exchange(self, asked: Request) -> Token:
        answer = patiently(
            lambda: self._prove(asked), lambda proof, end: self._attempt(asked, proof, end), self._clock, self._timeout
        )
        if isinstance(answer, CambioError):
            raise answer
        return answer

    def _lasting(self, asked: Request) -> Token:
        """A credential to keep: after one that has ended already a source would ask for the next at once, and so on."""
        token = self._exchange(asked)
        if token.remaining() > 0:
            return token
        raise ExchangeRefused(
            CODE_BAD_ANSWER,
            "the server gave a credential that has ended already: raise the lifetime",
            status=200,
            exchange_id=token.exchange_id,
            retryable=True,
        )

    def _prove(self, asked: Request) -> _Proof:
        subject, actor = asked.subject, asked.actor
        if subject is None:
            subject = self._identity
        elif actor is None:
            actor = self._identity
        return _Proof(
            ask(subject),
            None if actor is None else ask(actor),
            None if asked.passthrough is None else ask(asked.passthrough),
        )

    def _attempt(self, asked: Request, proof: _Proof, deadline: float) -> Token | CambioError:
        """One request. Errors are returned, not raised: a traceback would show this frame, which holds the tokens."""
        form = dict(asked.form)
        form["subject_token"] = proof.subject.value.reveal()
        form["subject_token_type"] = proof.subject.token_type
        if proof.actor is not None:
            form["actor_token"] = proof.actor.value.reveal()
            form["actor_token_type"] = proof.actor.token_type
        if proof.passthrough is not None:
            form["passthrough_token"] = proof.passthrough.value.reveal()
        secrets = [
            token.value.reveal() for token in (proof.subject, proof.actor, proof.passthrough) if token is not None
        ]
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._client_id is not None and self._client_secret is not None:
            try:
                secret = self._client_secret().reveal()
            except Exception as err:
                fault = f"the client's secret cannot be had: {plain(str(err) or type(err).__name__)}"
                return IdentityError(CODE_IDENTITY, fault, retryable=True)
            headers["Authorization"] = basic(self._client_id, secret)
            secrets += secret, headers["Authorization"].removeprefix("Basic ")
        began = self._clock.monotonic(), self._clock.time()
        left = max(deadline - began[0], 0.001)
        body = urlencode(form).encode()
        response = post(self._transport, self._origin, "/oauth2/token", headers, body, left, secrets)
        if isinstance(response, CambioError):
            return response
        if response.status != 200:
            return refusal(response, secrets)
        return credential(response, self._origin, began, proof.subject.expires_at, self._clock)


def _client_from_environment() -> tuple[str | None, Callable[[], Secret] | None]:
    client_id, path = os.environ.get("CAMBIO_CLIENT_ID"), os.environ.get("CAMBIO_CLIENT_SECRET_FILE")
    if not client_id:
        return None, None
    if not path:
        raise misconfigured("CAMBIO_CLIENT_ID wants CAMBIO_CLIENT_SECRET_FILE beside it")

    def read() -> Secret:
        with open(path, encoding="utf-8") as f:
            return Secret(f.read(64 << 10).rstrip("\r\n"))

    return client_id, read
