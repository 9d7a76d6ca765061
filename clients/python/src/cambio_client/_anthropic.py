"""Anthropic's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bearer import Bearer, bearer
from ._extras import missing
from ._single import Single

if TYPE_CHECKING:
    import anthropic
    from anthropic.lib.credentials import AccessToken

    from ._identity import IdentityLike
    from ._secret import Secret
    from ._source import TokenSource


def anthropic_client(source: TokenSource | IdentityLike, **options: Any) -> anthropic.Anthropic:
    """An anthropic.Anthropic with the token of source, renewed ahead and where the answer is 401.

    options: those of anthropic.Anthropic, save those about keys. The SDK sends what Anthropic wants beside such a
    token, `anthropic-beta: oauth-2025-04-20`. It asks once more after a 401 as long as max_retries is not 0.

        from cambio_client import Client, anthropic_client

        client = anthropic_client(Client().token_source("claude"))
        answer = client.messages.create(
            model="claude-sonnet-4-6", max_tokens=64, messages=[{"role": "user", "content": "Who am I?"}]
        )
        print(answer.content[0].text)
    """
    sdk = _sdk()
    return sdk.Anthropic(credentials=_Credentials(bearer(source), sdk.AccessToken), **options)


def async_anthropic_client(source: TokenSource | IdentityLike, **options: Any) -> anthropic.AsyncAnthropic:
    """An anthropic.AsyncAnthropic; otherwise as anthropic_client.

    from cambio_client import Client, async_anthropic_client

    client = async_anthropic_client(Client().token_source("claude"))
    """
    sdk = _sdk()
    return sdk.AsyncAnthropic(credentials=_AsyncCredentials(bearer(source), sdk.AccessToken), **options)


def _sdk() -> Any:
    try:
        import anthropic
    except ImportError as err:
        raise missing("anthropic") from err
    return anthropic


_OWN_CACHE = 0
"""An expiry that has the SDK ask at each request (anthropic.lib.credentials): the source keeps the token."""


class _Given(Single):
    """What the SDK calls for a token: at each request, and with force_refresh after a 401, which tells no token; the
    one that was refused is the last that was given, or one that was replaced since."""

    def __init__(self, bearer: Bearer, make: type[AccessToken]) -> None:
        self._bearer, self._make = bearer, make
        self._last: Secret | None = None

    def _give(self, token: Secret) -> AccessToken:
        self._last = token
        return self._make(token=token.reveal(), expires_at=_OWN_CACHE)


class _Credentials(_Given):
    def __call__(self, *, force_refresh: bool = False) -> AccessToken:
        return self._give(self._bearer.token(self._last if force_refresh else None))


class _AsyncCredentials(_Given):
    async def __call__(self, *, force_refresh: bool = False) -> AccessToken:
        return self._give(await self._bearer.atoken(self._last if force_refresh else None))
