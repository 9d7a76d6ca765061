"""A chat by each HTTP library with a signer of cambio_client, as JSON: what each is told. Arguments: target, signing."""

import asyncio
import json
import os
import ssl
import sys

import httpx
import httpx2
import requests
from cambio_client import Client, OciSigner, oci_http_auth

target, signing = sys.argv[1:]
signer = OciSigner(Client(), target, signing=signing)
url = os.environ["OCI_GENAI_ENDPOINT"] + "/20231130/actions/chat"
body = {
    "compartmentId": "ocid1.compartment.oc1..workloads",
    "servingMode": {"servingType": "ON_DEMAND", "modelId": "meta.llama"},
    "chatRequest": {"apiFormat": "COHERE", "message": "Wer bin ich, schöne Welt?"},
}
trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])


def said(answer):
    answer.raise_for_status()
    return answer.json()["chatResponse"]["text"]


async def asked(library):
    async with library.AsyncClient(auth=oci_http_auth(signer), verify=trust) as http:
        return said(await http.post(url, json=body))


answers = {"requests": said(requests.post(url, json=body, auth=signer, timeout=10))}
for library in (httpx, httpx2):
    with library.Client(auth=oci_http_auth(signer), verify=trust) as http:
        answers[library.__name__] = said(http.post(url, json=body))
    answers["async " + library.__name__] = asyncio.run(asked(library))
print(json.dumps(answers))
