"""litellm's calls to five providers, with nothing but the secret of an agent's start, as JSON: what each says.
Argument: the URL of the agent's proxy; the secret is in the variable AGENT_SECRET."""

import asyncio
import json
import os
import sys

import litellm

url, secret = sys.argv[1], os.environ["AGENT_SECRET"]
vertex = f"{url}/vertex/v1/projects/cambio-dev/locations/us-central1/publishers/google"


def providers(key):
    return {
        "bedrock": {
            "model": "bedrock/converse/anthropic.claude-haiku-4-5-20251001-v1:0",
            "aws_bedrock_runtime_endpoint": f"{url}/bedrock",
            "aws_region_name": "us-east-1",
            "aws_access_key_id": key,
            "aws_secret_access_key": "nothing-that-counts",
        },
        "azure": {"model": "azure/gpt-5", "api_base": f"{url}/azure-openai", "api_version": "2024-10-21", "api_key": key},
        "vertex": {"model": "gemini/gemini-2.5-flash", "api_base": vertex, "api_key": key},
        "openai": {"model": "openai/gpt-5", "api_base": f"{url}/openai/v1", "api_key": key},
        "anthropic": {"model": "anthropic/claude-sonnet-4-5", "api_base": f"{url}/anthropic", "api_key": key},
    }


def said(answer):
    return answer.choices[0].message.content


def joined(parts):
    return "".join(part.choices[0].delta.content or "" for part in parts)


async def asynchronous(call):
    parts = [part async for part in await litellm.acompletion(**call, stream=True)]
    many = await asyncio.gather(*(litellm.acompletion(**call) for _ in range(5)))
    return {
        "async": said(await litellm.acompletion(**call)),
        "async streaming": joined(parts),
        "five at once": " ".join({said(a) for a in many}),
    }


async def gathered(calls):
    return {name: await asynchronous(call) for name, call in calls.items()}


def refused(call):
    try:
        return "answered: " + said(litellm.completion(**call))
    except Exception as err:
        return f"{type(err).__name__} {getattr(err, 'status_code', None)}"


common = {"messages": [{"role": "user", "content": "Who am I?"}], "max_tokens": 64, "num_retries": 0}
calls = {name: {**call, **common} for name, call in providers(secret).items()}
later = asyncio.run(gathered(calls))
strangers = {name: refused({**call, **common}) for name, call in providers("not-" + secret).items()}
answers = {
    name: {
        "completion": said(litellm.completion(**call)),
        "streaming": joined(litellm.completion(**call, stream=True)),
        **later[name],
        "with another secret": strangers[name],
    }
    for name, call in calls.items()
}
print(json.dumps(answers))
