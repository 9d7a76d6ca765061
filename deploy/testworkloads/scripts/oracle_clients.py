"""Oracle's own clients with a signer of cambio_client, as JSON: what each is told. Arguments: target, signing."""

import copy
import io
import json
import os
import sys

import oci
from cambio_client import CambioError, Client, OciSigner, oci_sdk_signer
from oci.generative_ai_inference import GenerativeAiInferenceClient, models
from oci.object_storage import ObjectStorageClient

target, signing = sys.argv[1:]
signer = oci_sdk_signer(OciSigner(Client(), target, signing=signing))
options = {"signer": signer, "service_endpoint": os.environ["OCI_GENAI_ENDPOINT"], "retry_strategy": oci.retry.NoneRetryStrategy()}
genai, storage = GenerativeAiInferenceClient({}, **options), ObjectStorageClient({}, **options)
mode = models.OnDemandServingMode(model_id="meta.llama")


def chat(stream):
    request = models.GenericChatRequest(messages=[models.UserMessage(content=[models.TextContent(text="Who am I?")])], is_stream=stream)
    return genai.chat(models.ChatDetails(compartment_id="ocid1.compartment.oc1..workloads", serving_mode=mode, chat_request=request)).data


def streamed():
    events = [json.loads(event.data) for event in chat(True).events()]
    return "".join(part["text"] for event in events for part in event["message"].get("content", []))


def tried(call):
    try:
        return call()
    except CambioError as err:
        return err.code


embed = models.EmbedTextDetails(compartment_id="ocid1.compartment.oc1..workloads", serving_mode=mode, inputs=["a", "bc"])
print(
    json.dumps(
        {
            "region": signer.region,
            "copied": copy.deepcopy(signer) is signer and signer.refresh_security_token is not None,
            "chat": chat(False).chat_response.choices[0].message.content[0].text,
            "streaming": streamed(),
            "embedding": genai.embed_text(embed).data.embeddings,
            "namespace": tried(lambda: storage.get_namespace().data),
            "upload": tried(lambda: len("hello") if storage.put_object("ns", "bucket", "a name", b"hello").status == 200 else 0),
            "upload of a stream": tried(
                lambda: len("abc") if storage.put_object("ns", "bucket", "b", io.BytesIO(b"abc")).status == 200 else 0
            ),
            "download": tried(lambda: storage.get_object("ns", "bucket", "a name").data.text),
        }
    )
)
