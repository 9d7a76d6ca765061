"""azure-identity by the identity endpoint of App Service, against Azure OpenAI by the openai package."""

import asyncio
import functools
import os

import azure.identity
import azure.identity.aio
import openai

SCOPE = "https://cognitiveservices.azure.com/.default"
ASK = {"model": "gpt", "messages": [{"role": "user", "content": "Who am I?"}]}
KNOWN = {"azure_endpoint": os.environ["AZURE_OPENAI_ENDPOINT"], "api_version": "2024-10-21", "max_retries": 0}


@functools.cache
def client(kind):
    provider = azure.identity.get_bearer_token_provider(getattr(azure.identity, kind)(), SCOPE)
    return openai.AzureOpenAI(azure_ad_token_provider=provider, **KNOWN)


def ask(kind):
    return client(kind).chat.completions.create(**ASK).choices[0].message.content


async def ask_async(kind):
    async with getattr(azure.identity.aio, kind)() as credential:
        provider = azure.identity.aio.get_bearer_token_provider(credential, SCOPE)
        async with openai.AsyncAzureOpenAI(azure_ad_token_provider=provider, **KNOWN) as async_client:
            return (await async_client.chat.completions.create(**ASK)).choices[0].message.content


CALLS = {
    "managed": lambda: ask("ManagedIdentityCredential"),
    "default": lambda: ask("DefaultAzureCredential"),
    "managed, async": lambda: asyncio.run(ask_async("ManagedIdentityCredential")),
    "default, async": lambda: asyncio.run(ask_async("DefaultAzureCredential")),
}
