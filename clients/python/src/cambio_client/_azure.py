"""Credentials for Azure's clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._bearer import SEND_LEFT, sendable
from ._errors import CambioError
from ._extras import missing
from ._single import Single

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
    from typing_extensions import Self

    from ._secret import Secret
    from ._source import TokenSource
    from ._token import Token


def azure_credential(source: TokenSource | Mapping[str, TokenSource]) -> AzureCredential:
    """A credential for Azure's clients with the token of an azure target, in place of one of azure-identity.

    source: where a client asks for several scopes, a source for each, such as
    `{"https://vault.azure.net/.default": source}`; one source serves whatever scope is asked for. A failure is
    azure-core's ClientAuthenticationError, with the CambioError as its cause.

        import os
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import BearerTokenCredentialPolicy
        from azure.core.rest import HttpRequest
        from cambio_client import Client, azure_credential

        endpoint = os.environ["AZURE_OPENAI_ENDPOINT"]
        credential = azure_credential(Client().token_source("azure-openai"))
        policy = BearerTokenCredentialPolicy(credential, "https://cognitiveservices.azure.com/.default")
        question = {"model": "gpt", "messages": [{"role": "user", "content": "Who am I?"}]}
        with PipelineClient(endpoint, policies=[policy]) as client:
            request = HttpRequest("POST", f"{endpoint}/openai/v1/chat/completions", json=question)
            print(client.send_request(request).json()["choices"][0]["message"]["content"])
    """
    return AzureCredential(source, *_types())


def async_azure_credential(source: TokenSource | Mapping[str, TokenSource]) -> AzureAioCredential:
    """A credential for Azure's async clients, those in the packages `….aio`; otherwise as azure_credential.

    from cambio_client import Client, async_azure_credential

    credential = async_azure_credential(Client().token_source("azure-openai"))
    """
    return AzureAioCredential(source, *_types())


class _Credential(Single):
    """What both have in common. Azure's protocols are structural: there is no class to derive from."""

    def __init__(
        self,
        source: TokenSource | Mapping[str, TokenSource],
        token: type[AccessToken],
        info: type[AccessTokenInfo],
        failure: type[Exception],
    ) -> None:
        self._sources = dict(source) if isinstance(source, Mapping) else source
        self._token, self._info, self._failure = token, info, failure
        self._given: dict[int, Secret] = {}

    def _source(self, scopes: tuple[str, ...]) -> TokenSource:
        if not isinstance(self._sources, dict):
            return self._sources
        found = {id(s): s for s in map(self._sources.get, scopes) if s is not None}
        if len(found) != 1 or not all(scope in self._sources for scope in scopes):
            known = ", ".join(sorted(self._sources))
            raise self._failure(f"cambio: there is no one source for {', '.join(scopes)}: the credential has {known}")
        return next(iter(found.values()))

    def _refused(self, source: TokenSource, claims: object) -> Secret | None:
        """Claims are what a service answers that does not take a token any more (continuous access evaluation); the
        token is the last that was given, or one that was replaced since."""
        return self._given.get(id(source)) if claims else None

    def _read(self, source: TokenSource, token: Token) -> Token:
        self._given[id(source)] = sendable(token)
        return token

    def _failed(self, err: CambioError) -> Exception:
        failure = self._failure(str(err))
        failure.__cause__ = err
        return failure

    def _as_token(self, token: Token) -> AccessToken:
        return self._token(token.value.reveal(), int(token.expires_at))

    def _as_info(self, token: Token) -> AccessTokenInfo:
        return self._info(
            token.value.reveal(),
            int(token.expires_at),
            token_type="Bearer",
            refresh_on=int(token.refresh_at),
        )


class AzureCredential(_Credential):
    """A TokenCredential and SupportsTokenInfo of azure-core; azure_credential makes it."""

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        """The token for scopes; with claims, another one than was given before. The tenant is the target's."""
        return self._as_token(self._get(scopes, claims))

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """get_token, with the time from when to ask again."""
        return self._as_info(self._get(scopes, (options or {}).get("claims")))

    def _get(self, scopes: tuple[str, ...], claims: str | None) -> Token:
        source = self._source(scopes)
        try:
            return self._read(source, source.token(rejected=self._refused(source, claims), min_left=SEND_LEFT))
        except CambioError as err:
            raise self._failed(err) from err

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()


class AzureAioCredential(_Credential):
    """An AsyncTokenCredential and AsyncSupportsTokenInfo of azure-core; async_azure_credential makes it."""

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        """The token for scopes; with claims, another one than was given before. The tenant is the target's."""
        return self._as_token(await self._get(scopes, claims))

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """get_token, with the time from when to ask again."""
        return self._as_info(await self._get(scopes, (options or {}).get("claims")))

    async def _get(self, scopes: tuple[str, ...], claims: str | None) -> Token:
        source = self._source(scopes)
        try:
            return self._read(source, await source.atoken(rejected=self._refused(source, claims), min_left=SEND_LEFT))
        except CambioError as err:
            raise self._failed(err) from err

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


def _types() -> tuple[type[AccessToken], type[AccessTokenInfo], type[Exception]]:
    try:
        from azure.core.credentials import AccessToken, AccessTokenInfo
        from azure.core.exceptions import ClientAuthenticationError
    except ImportError as err:
        raise missing("azure") from err
    return AccessToken, AccessTokenInfo, ClientAuthenticationError
