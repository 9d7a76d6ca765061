"""OpenAI's clients, also for Azure and for gateways that speak OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bearer import bearer
from ._errors import misconfigured
from ._extras import missing
from ._http_auth import http_auth, is_http_auth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import openai

    from ._identity import IdentityLike
    from ._source import TokenSource


def openai_client(source: TokenSource | IdentityLike, **options: Any) -> openai.OpenAI:
    """An openai.OpenAI whose key is the token of source, renewed ahead and where the answer is 401.

    options: those of openai.OpenAI, save api_key. An http_client of one's own is made with `auth=http_auth(source)`.
    Over an identity in place of a source the workload's own token is sent, for a gateway that checks that itself.

        from cambio_client import Client, openai_client

        client = openai_client(Client().token_source("gpt"))
        answer = client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "Who am I?"}])
        print(answer.choices[0].message.content)
    """
    sdk = _sdk()
    return sdk.OpenAI(api_key=_key(source), http_client=_http_client(source, options), **options)


def async_openai_client(source: TokenSource | IdentityLike, **options: Any) -> openai.AsyncOpenAI:
    """An openai.AsyncOpenAI; otherwise as openai_client.

    from cambio_client import Client, async_openai_client

    client = async_openai_client(Client().token_source("gpt"))
    """
    sdk = _sdk()
    return sdk.AsyncOpenAI(api_key=_async_key(source), http_client=_async_http_client(source, options), **options)


def azure_openai_client(source: TokenSource | IdentityLike, **options: Any) -> openai.AzureOpenAI:
    """An openai.AzureOpenAI with the token of an azure target; otherwise as openai_client.

    options: those of openai.AzureOpenAI, such as api_version and azure_endpoint, save those about keys.

        from cambio_client import Client, azure_openai_client

        client = azure_openai_client(Client().token_source("azure-openai"), api_version="2024-10-21")
        answer = client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "Who am I?"}])
        print(answer.choices[0].message.content)
    """
    sdk = _sdk()
    http_client = _http_client(source, options)
    return sdk.AzureOpenAI(azure_ad_token_provider=_key(source), http_client=http_client, **options)


def async_azure_openai_client(source: TokenSource | IdentityLike, **options: Any) -> openai.AsyncAzureOpenAI:
    """An openai.AsyncAzureOpenAI; otherwise as azure_openai_client.

    from cambio_client import Client, async_azure_openai_client

    client = async_azure_openai_client(Client().token_source("azure-openai"), api_version="2024-10-21")
    """
    sdk = _sdk()
    http_client = _async_http_client(source, options)
    return sdk.AsyncAzureOpenAI(azure_ad_token_provider=_async_key(source), http_client=http_client, **options)


def _sdk() -> Any:
    try:
        import openai
    except ImportError as err:
        raise missing("openai") from err
    return openai


# The SDK asks for the key at each request, and not again where it was refused: that is for the HTTP client's auth,
# which puts its own header over the key's. The key is for the rest, such as web sockets.


def _key(source: TokenSource | IdentityLike) -> Callable[[], str]:
    key = bearer(source)
    return lambda: key.token().reveal()


def _async_key(source: TokenSource | IdentityLike) -> Callable[[], Awaitable[str]]:
    key = bearer(source)

    async def give() -> str:
        return (await key.atoken()).reveal()

    return give


def _http_client(source: TokenSource | IdentityLike, options: dict[str, Any]) -> Any:
    return _given(options) or _sdk().DefaultHttpxClient(auth=http_auth(source))


def _async_http_client(source: TokenSource | IdentityLike, options: dict[str, Any]) -> Any:
    return _given(options) or _sdk().DefaultAsyncHttpxClient(auth=http_auth(source))


def _given(options: dict[str, Any]) -> Any:
    """Takes the caller's own HTTP client out of the options. It is not changed: it may serve other hosts, too."""
    client = options.pop("http_client", None)
    if client is not None and not is_http_auth(getattr(client, "auth", None)):
        raise misconfigured("make the http_client with auth=http_auth(source), or leave it out")
    return client
