"""Credentials of a Cambio server, for Python programs.

    import cambio_client
    source = cambio_client.Client().token_source("github-mcp")
    source.token().value.reveal()

Nothing but the standard library is needed; an adapter imports the SDK that it is for when it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._client import Client
from ._clock import Clock, SystemClock
from ._environment import from_environment
from ._errors import CambioError, ExchangeRefused, IdentityError, Misconfigured, ServerUnreachable
from ._http import HttpTransport, Response, Transport
from ._identity import (
    DEFAULT_TOKEN_FILE,
    CallableIdentity,
    EnvironmentToken,
    Identity,
    IdentityToken,
    ServiceAccountFile,
    StaticIdentity,
)
from ._identity_github import GitHubActions
from ._identity_oidc import OidcClientCredentials
from ._identity_spiffe import SpiffeWorkload
from ._secret import Secret
from ._source import TokenSource
from ._token import Token
from ._version import __version__

# An adapter is two lines: one here for the type checkers …
if TYPE_CHECKING:
    pass

# … and one here, the name and the module that has it: it is imported when somebody asks for the name.
_ADAPTERS: dict[str, str] = {}

__all__ = [
    "DEFAULT_TOKEN_FILE",
    "CallableIdentity",
    "CambioError",
    "Client",
    "Clock",
    "EnvironmentToken",
    "ExchangeRefused",
    "GitHubActions",
    "HttpTransport",
    "Identity",
    "IdentityError",
    "IdentityToken",
    "Misconfigured",
    "OidcClientCredentials",
    "Response",
    "Secret",
    "ServerUnreachable",
    "ServiceAccountFile",
    "SpiffeWorkload",
    "StaticIdentity",
    "SystemClock",
    "Token",
    "TokenSource",
    "Transport",
    "__version__",
    "from_environment",
]
__all__ += [*_ADAPTERS]


def __getattr__(name: str) -> Any:
    module = _ADAPTERS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("." + module, __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ADAPTERS})
