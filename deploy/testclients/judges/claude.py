"""Anthropic: its own package."""

import anthropic
from anthropic.lib import credentials

from .bench import Bench, World

ASK = dict(model="claude-haiku", max_tokens=10, messages=[{"role": "user", "content": "Who am I?"}])


def plain(client):
    return client.messages.create(**ASK).content[0].text


def stream(client):
    with client.messages.stream(**ASK) as events:
        return "".join(events.text_stream)


def main():
    world, bench = World(), Bench("anthropic")
    at, says = world.clouds["anthropic"], "You are default:claude"
    vended = anthropic.Anthropic(credentials=credentials.StaticToken(world.exchange("claude")), base_url=at, max_retries=0)
    bench.judge("anthropic", "messages", lambda: plain(vended), says)
    bench.judge("anthropic", "messages, streaming", lambda: stream(vended), says)
    other = anthropic.Anthropic(credentials=credentials.StaticToken("sk-ant-oat01-none"), base_url=at, max_retries=0)
    bench.refusal("anthropic", "an unknown token", lambda: plain(other), anthropic.AuthenticationError, "unknown or has expired")

    # The package's own federation, as the oracle of the token endpoint.
    own = anthropic.Anthropic(base_url=world.sandbox["anthropic"], max_retries=0, credentials=anthropic.WorkloadIdentityCredentials(
        identity_token_provider=anthropic.IdentityTokenFile(world.assertion("anthropic")),
        federation_rule_id=world.anthropic["rule"], organization_id=world.anthropic["organization"], service_account_id=world.anthropic["account"],
    ))
    bench.judge("anthropic", "WorkloadIdentityCredentials, then messages", lambda: plain(own), says)
    again = anthropic.Anthropic(base_url=world.sandbox["anthropic"], max_retries=0, credentials=anthropic.WorkloadIdentityCredentials(
        identity_token_provider=anthropic.IdentityTokenFile(world.assertion("anthropic")),
        federation_rule_id=world.anthropic["rule"], organization_id=world.anthropic["organization"],
    ))
    bench.refusal("anthropic", "an assertion used before", lambda: plain(again), anthropic.WorkloadIdentityError, "HTTP 401", "used before")


if __name__ == "__main__":
    main()
