"""Calls the tool as LiteLLM's gateway does for its users: its own token exchanger, with
its own HTTP and cache, gets a token for a person whose token it was sent.

    gateway.py URL < settings
"""

import json
import logging
import sys

import anyio
import wire
from litellm.proxy._experimental.mcp_server.outbound_credentials.token_exchange_provider import build_token_exchanger
from litellm.proxy._experimental.mcp_server.outbound_credentials.types import ServerSpec, TokenExchangeConfig
from pydantic import SecretStr


async def main(url: str) -> None:
    logging.disable()
    settings = json.load(sys.stdin)
    exchanger = build_token_exchanger()

    async def exchange(subject: str, audience: str):
        """A token, or the name of what LiteLLM makes of the refusal."""
        config = TokenExchangeConfig(
            token_exchange_endpoint=settings["issuer"] + "/oauth2/token",
            audience=audience,
            client_id=settings["client_id"],
            client_secret=SecretStr(settings["client_secret"]),
            scopes=("tools.read", "tools.call"),
        )
        server = ServerSpec(server_id=audience, resource=audience, config=config)
        result = await exchanger.exchange(subject, server, config)
        return (result.ok.access_token, "") if result.is_ok() else ("", result.error.tag)

    bearer = wire.Bearer()
    bearer.token, refusal = await exchange(settings["subject"], url)
    if refusal:
        sys.exit("refused: " + refusal)
    again, _ = await exchange(settings["subject"], url)
    async with wire.connect("streamable", url, bearer, wire.Seen()) as client:
        answer = await wire.whoami(client)
    answer["cached"] = again == bearer.token
    answer["refusals"] = {
        "no token": (await exchange("not-a-token", url))[1],
        "another target": (await exchange(settings["subject"], url + "/"))[1],
    }
    print(json.dumps(answer))


anyio.run(main, *sys.argv[1:])
