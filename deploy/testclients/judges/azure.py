"""Azure: azure-identity against the authority, the openai package against Azure OpenAI."""

import azure.core.exceptions
import azure.identity
import openai

from .bench import Bench, World

SCOPE = "https://cognitiveservices.azure.com/.default"
ASK = dict(model="gpt", messages=[{"role": "user", "content": "Who am I?"}])


def client(endpoint, **credential):
    return openai.AzureOpenAI(azure_endpoint=endpoint, api_version="2024-10-21", max_retries=0, **credential)


def plain(c):
    return c.chat.completions.create(**ASK).choices[0].message.content


def stream(c):
    return "".join(chunk.choices[0].delta.content or "" for chunk in c.chat.completions.create(stream=True, **ASK))


def main():
    world, bench = World(), Bench("azure")
    says = f"You are the application {world.azure['client']} of tenant {world.azure['tenant']}, by an assertion of default:azure-openai"
    vended = client(world.clouds["azure"], azure_ad_token=world.exchange("azure-openai"))
    bench.judge("openai", "AzureOpenAI chat", lambda: plain(vended), says)
    bench.judge("openai", "AzureOpenAI chat, streaming", lambda: stream(vended), says)
    v1 = openai.OpenAI(base_url=world.clouds["azure"] + "/openai/v1/", api_key=lambda: world.exchange("azure-openai"), max_retries=0)
    bench.judge("openai", "OpenAI at the v1 endpoint, a key by callback", lambda: plain(v1), says)
    bench.refusal("openai", "AzureOpenAI, another's token", lambda: plain(client(world.clouds["azure"], azure_ad_token=world.exchange("vertex"))),
                  openai.AuthenticationError, "Access token is missing, invalid")

    # The library as the oracle of the authority: it and the stand-in have never met.
    authority, path = world.sandbox["azure"], world.assertion("azure")
    known = dict(authority=authority, disable_instance_discovery=True)
    by_callback = azure.identity.ClientAssertionCredential(world.azure["tenant"], world.azure["client"], lambda: open(path).read(), **known)
    by_file = azure.identity.WorkloadIdentityCredential(tenant_id=world.azure["tenant"], client_id=world.azure["client"], token_file_path=path, **known)
    for name, credential in (("ClientAssertionCredential", by_callback), ("WorkloadIdentityCredential", by_file)):
        own = client(authority, azure_ad_token_provider=azure.identity.get_bearer_token_provider(credential, SCOPE))
        bench.judge("azure-identity", f"{name}, then chat", lambda: plain(own), says)
    other = azure.identity.ClientAssertionCredential(world.azure["tenant"], world.azure["client"], lambda: open(world.assertion("stranger")).read(), **known)
    bench.refusal("azure-identity", "a subject that no credential names", lambda: other.get_token(SCOPE), azure.core.exceptions.ClientAuthenticationError, "AADSTS700213")


if __name__ == "__main__":
    main()
