"""OCI: Oracle's Python SDK. The key that requests are signed with is made here, and
stays here."""

import json
import os

import oci
import oci.auth.signers
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from oci.generative_ai_inference import GenerativeAiInferenceClient, models

from .bench import Bench, World

WHO = "You are default:oci-genai"


def chat(at, signer):
    request = models.GenericChatRequest(messages=[models.UserMessage(content=[models.TextContent(text="Who am I?")])])
    details = models.ChatDetails(
        compartment_id="ocid1.compartment.oc1..judges", serving_mode=models.OnDemandServingMode(model_id="meta.llama"), chat_request=request,
    )
    client = GenerativeAiInferenceClient({}, signer=signer, service_endpoint=at, retry_strategy=oci.retry.NoneRetryStrategy())
    return client.chat(details).data.chat_response.choices[0].message.content[0].text


def main():
    world, bench = World(), Bench("oci")
    key = rsa.generate_private_key(65537, 2048)
    public = f"{world.work}/oci.pub"
    with open(public, "wb") as f:
        f.write(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    vended = json.loads(world.exchange("oci-genai", "--public-key", public))

    signer = oci.auth.signers.SecurityTokenSigner(vended["token"], key)
    bench.judge("oci", "SecurityTokenSigner with an RPST, GenAI chat", lambda: chat(world.clouds["oci"], signer), WHO)
    stranger = oci.auth.signers.SecurityTokenSigner(vended["token"], rsa.generate_private_key(65537, 2048))
    bench.refusal("oci", "an RPST with a key that it does not name", lambda: chat(world.clouds["oci"], stranger), oci.exceptions.ServiceError, "NotAuthenticated")

    pem = f"{world.work}/oci.pem"
    with os.fdopen(os.open(pem, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    token = f"{world.work}/oci.rpst"
    with open(token, "w") as f:
        f.write(vended["token"])
    os.environ.update(
        OCI_RESOURCE_PRINCIPAL_VERSION="2.2", OCI_RESOURCE_PRINCIPAL_RPST=token, OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM=pem,
        OCI_RESOURCE_PRINCIPAL_REGION=vended["region"],
    )
    bench.judge("oci", "resource principal 2.2 from files, GenAI chat",
                lambda: chat(world.clouds["oci"], oci.auth.signers.get_resource_principals_signer()), WHO)

    # Oracle's own token exchange, for a user, as the oracle of the domain.
    at = world.sandbox["oci"]
    bench.judge("oci", "TokenExchangeSigner at the domain, GenAI chat", lambda: chat(at, oci.auth.signers.TokenExchangeSigner(
        open(world.assertion("oci")).read(), at, world.oci["client"], world.oci["secret"], region="us-ashburn-1")), WHO)


if __name__ == "__main__":
    main()
