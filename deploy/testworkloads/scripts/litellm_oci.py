"""litellm's own calls, with a signer of cambio_client, as JSON: what each says. Arguments: target, signing."""

import asyncio
import json
import os
import sys

import litellm
from cambio_client import Client, OciSigner

target, signing = sys.argv[1:]
question = [{"role": "user", "content": "Who am I?"}]
client = Client()
oci = {
    "oci_signer": OciSigner(client, target, signing=signing),
    "oci_region": "us-ashburn-1",
    "oci_compartment_id": "ocid1.compartment.oc1..workloads",
    "api_base": os.environ["OCI_GENAI_ENDPOINT"],
}
chat = {"model": "oci/meta.llama-3.3-70b-instruct", "messages": question, **oci}
cohere = {**chat, "model": "oci/cohere.command-a-03-2025"}
router = litellm.Router(
    model_list=[
        {"model_name": "chat", "litellm_params": {"model": chat["model"], **oci}},
        {"model_name": "embed", "litellm_params": {"model": "oci/cohere.embed-v4.0", **oci}},
    ]
)


def said(answer):
    return answer.choices[0].message.content


def joined(stream):
    return "".join(part.choices[0].delta.content or "" for part in stream)


def vectors(answer):
    return [item["embedding"] for item in answer.data]


async def ajoined(stream):
    return "".join([part.choices[0].delta.content or "" async for part in stream])


async def calls():
    yield "async", said(await litellm.acompletion(**chat))
    yield "async streaming", await ajoined(await litellm.acompletion(**chat, stream=True))
    yield "async cohere streaming", await ajoined(await litellm.acompletion(**cohere, stream=True))
    yield "async router", said(await router.acompletion(model="chat", messages=question))
    yield "async router streaming", await ajoined(await router.acompletion(model="chat", messages=question, stream=True))
    yield "async embedding", vectors(await litellm.aembedding(model="oci/cohere.embed-v4.0", input=["a", "bc"], **oci))
    many = await asyncio.gather(*(litellm.acompletion(**chat) for _ in range(10)))
    yield "ten at once", " ".join(sorted({said(answer) for answer in many}))


async def gathered():
    return {name: answer async for name, answer in calls()}


answers = {
    "plain": said(litellm.completion(**chat)),
    "cohere": said(litellm.completion(**cohere)),
    "streaming": joined(litellm.completion(**chat, stream=True)),
    "cohere streaming": joined(litellm.completion(**cohere, stream=True)),
    "router": said(router.completion(model="chat", messages=question)),
    "router streaming": joined(router.completion(model="chat", messages=question, stream=True)),
    "embedding": vectors(litellm.embedding(model="oci/cohere.embed-v4.0", input=["a", "bc"], **oci)),
    "router embedding": vectors(router.embedding(model="embed", input=["a", "bc"])),
    **asyncio.run(gathered()),
}
print(json.dumps(answers))
