"""The official openai client with OIDC client credentials, to a gateway, as JSON: what it is told, by user. Argument:
a JSON file with url, token_url, audience, ca_file, and the path of each user's secret in users."""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
from cambio_client import OidcClientCredentials, async_openai_client, http_auth, openai_client

with open(sys.argv[1]) as f:
    given = json.load(f)
call = {"model": "gpt-5", "messages": [{"role": "user", "content": "Who am I?"}]}
identities = {
    user: OidcClientCredentials(given["token_url"], user, Path(file).read_text, audience=given["audience"], ca_file=given["ca_file"])
    for user, file in given["users"].items()
}


def said(answer):
    return answer.choices[0].message.content


def joined(parts):
    return "".join(part.choices[0].delta.content or "" for part in parts)


async def asynchronous(user):
    auth = http_auth(identities[user])
    http = openai.DefaultAsyncHttpxClient(auth=auth)
    async with openai.AsyncOpenAI(base_url=given["url"], api_key="none", http_client=http, max_retries=0) as client:
        answers = {"async": said(await client.chat.completions.create(**call))}
        answers["async streaming"] = joined([part async for part in await client.chat.completions.create(**call, stream=True)])
        many = await asyncio.gather(*(client.chat.completions.create(**call) for _ in range(5)))
        answers["five at once"] = " ".join({said(answer) for answer in many})
    async with async_openai_client(identities[user], base_url=given["url"], max_retries=0) as client:
        answers["async adapter"] = said(await client.chat.completions.create(**call))
    return answers


def asked(user):
    http = openai.DefaultHttpxClient(auth=http_auth(identities[user]))
    with openai.OpenAI(base_url=given["url"], api_key="none", http_client=http, max_retries=0) as client:
        answers = {"completion": said(client.chat.completions.create(**call))}
        answers["streaming"] = joined(client.chat.completions.create(**call, stream=True))
    with openai_client(identities[user], base_url=given["url"], max_retries=0) as client:
        answers["adapter"] = said(client.chat.completions.create(**call))
    return {**answers, **asyncio.run(asynchronous(user))}


with ThreadPoolExecutor() as pool:  # all users at the same time
    print(json.dumps(dict(zip(identities, pool.map(asked, identities), strict=True))))
