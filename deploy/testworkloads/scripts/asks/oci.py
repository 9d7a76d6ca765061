"""Oracle's own clients as a resource principal, by files, or as a pod on OKE."""

import functools
import hashlib
import os

import oci
from oci.generative_ai_inference import GenerativeAiInferenceClient, models


@functools.cache
def client():
    # A pod's token is where Kubernetes mounts it, unless one names another place.
    if token := os.environ.get("ASKS_OKE_TOKEN_FILE"):
        signer = oci.auth.signers.get_oke_workload_identity_resource_principal_signer(service_account_token_path=token)
    else:
        signer = oci.auth.signers.get_resource_principals_signer()
    return GenerativeAiInferenceClient(
        {}, signer=signer, service_endpoint=os.environ["OCI_GENAI_ENDPOINT"], retry_strategy=oci.retry.NoneRetryStrategy()
    )


def genai():
    request = models.GenericChatRequest(messages=[models.UserMessage(content=[models.TextContent(text="Who am I?")])])
    mode = models.OnDemandServingMode(model_id="meta.llama")
    details = models.ChatDetails(compartment_id="ocid1.compartment.oc1..workloads", serving_mode=mode, chat_request=request)
    return client().chat(details).data.chat_response.choices[0].message.content[0].text


def region():
    return client().base_client.signer.region


def token():
    """A digest of the one that requests are signed with."""
    return hashlib.sha256(client().base_client.signer.api_key.removeprefix("ST$").encode()).hexdigest()


CALLS = {"genai": genai, "region": region, "token": token}
