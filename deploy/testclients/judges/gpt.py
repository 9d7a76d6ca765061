"""OpenAI: its own package."""

import openai
from openai.auth import WorkloadIdentityAuth, k8s_service_account_token_provider

from .bench import Bench, World

ASK = dict(model="gpt", messages=[{"role": "user", "content": "Who am I?"}])


def plain(client):
    return client.chat.completions.create(**ASK).choices[0].message.content


def stream(client):
    return "".join(chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(stream=True, **ASK))


def main():
    world, bench = World(), Bench("openai")
    at, says = world.clouds["openai"] + "/v1", "You are default:gpt"
    vended = openai.OpenAI(api_key=world.exchange("gpt"), base_url=at, max_retries=0)
    bench.judge("openai", "chat", lambda: plain(vended), says)
    bench.judge("openai", "chat, streaming", lambda: stream(vended), says)
    bench.refusal("openai", "an unknown token", lambda: plain(openai.OpenAI(api_key="oat_none", base_url=at, max_retries=0)),
                  openai.AuthenticationError, "unknown or has expired")

    # The package's own federation, as the oracle of the token endpoint.
    def own(account):
        return WorkloadIdentityAuth(token_exchange_url=world.sandbox["openai"] + "/oauth/token", workload_identity={
            "identity_provider_id": world.openai["pool"], "service_account_id": account,
            "provider": k8s_service_account_token_provider(world.assertion("openai")),
        }).get_token()
    bench.judge("openai", "WorkloadIdentityAuth, then chat",
                lambda: plain(openai.OpenAI(api_key=own(world.openai["account"]), base_url=world.sandbox["openai"] + "/v1", max_retries=0)), says)
    bench.refusal("openai", "a service account without a mapping", lambda: own("svc_other"), openai.OAuthError, "no mapping binds")


if __name__ == "__main__":
    main()
