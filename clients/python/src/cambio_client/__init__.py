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
    from ._anthropic import anthropic_client as anthropic_client
    from ._anthropic import async_anthropic_client as async_anthropic_client
    from ._aws import boto3_session as boto3_session
    from ._azure import async_azure_credential as async_azure_credential
    from ._azure import azure_credential as azure_credential
    from ._google import async_google_credentials as async_google_credentials
    from ._google import google_credentials as google_credentials
    from ._http_auth import http_auth as http_auth
    from ._mcp import mcp_http_client as mcp_http_client
    from ._oci import OciSigner as OciSigner
    from ._oci_http import oci_http_auth as oci_http_auth
    from ._oci_http import oci_sdk_signer as oci_sdk_signer
    from ._openai import async_azure_openai_client as async_azure_openai_client
    from ._openai import async_openai_client as async_openai_client
    from ._openai import azure_openai_client as azure_openai_client
    from ._openai import openai_client as openai_client
    from ._vault import VaultSecret as VaultSecret
    from ._vault import hvac_client as hvac_client
    from ._vault import vault_secret as vault_secret
    from ._vault import vault_unwrap as vault_unwrap

# … and one here, the name and the module that has it: it is imported when somebody asks for the name.
_ADAPTERS: dict[str, str] = {
    "anthropic_client": "_anthropic",
    "async_anthropic_client": "_anthropic",
    "boto3_session": "_aws",
    "async_azure_credential": "_azure",
    "azure_credential": "_azure",
    "async_google_credentials": "_google",
    "google_credentials": "_google",
    "http_auth": "_http_auth",
    "mcp_http_client": "_mcp",
    "OciSigner": "_oci",
    "oci_http_auth": "_oci_http",
    "oci_sdk_signer": "_oci_http",
    "async_azure_openai_client": "_openai",
    "async_openai_client": "_openai",
    "azure_openai_client": "_openai",
    "openai_client": "_openai",
    "VaultSecret": "_vault",
    "hvac_client": "_vault",
    "vault_secret": "_vault",
    "vault_unwrap": "_vault",
}

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


def __getattr__(name: str) -> Any:
    module = _ADAPTERS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("." + module, __name__), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_ADAPTERS})
