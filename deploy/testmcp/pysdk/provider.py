"""Calls the tool with a token that a provider gets by itself: one of the SDK's own, or
the one beside this file.

    provider.py URL < settings

settings is a JSON object; `way` says which.
"""

import json
import sys

import anyio
import httpx2
import vended
import wire
from mcp.client.auth import TokenStorage
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    static_assertion_provider,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider


class Memory(TokenStorage):
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


def provider(url: str, s: dict) -> httpx2.Auth:
    async def granted(audience: str, resource: str) -> str:
        """The first leg of enterprise-managed authorization."""
        async with httpx2.AsyncClient() as http:
            answer = await http.post(
                s["idp"] + "/oauth2/token",
                auth=(s["idp_client_id"], s["idp_client_secret"]),
                data={
                    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                    "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
                    "subject_token": s["id_token"],
                    "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
                    "audience": audience,
                    "resource": resource,
                },
            )
            answer = answer.raise_for_status().json()
            if answer["token_type"] != "N_A" or not answer["issued_token_type"].endswith(":id-jag"):
                raise RuntimeError("that is no identity assertion grant")
            return answer["access_token"]

    async def workload(issuer: str) -> dict[str, str]:
        return {"grant_type": vended.JWT_BEARER, "assertion": s["assertion"]}

    match s["way"]:
        case "client_credentials":
            return ClientCredentialsOAuthProvider(
                url, Memory(), s["client_id"], s["client_secret"], issuer=s["issuer"], scope=s.get("scope")
            )
        case "private_key_jwt":
            return PrivateKeyJWTOAuthProvider(
                url, Memory(), s["client_id"], static_assertion_provider(s["assertion"]), issuer=s["issuer"]
            )
        case "id_jag":
            return IdentityAssertionOAuthProvider(
                url, Memory(), s["client_id"], s["client_secret"], s["issuer"], granted
            )
        case "workload":
            return vended.Vended(url, workload)
    raise ValueError(s["way"])


async def main(url: str) -> None:
    async with wire.connect("streamable", url, provider(url, json.load(sys.stdin)), wire.Seen()) as client:
        print(json.dumps(await wire.whoami(client)))


anyio.run(main, *sys.argv[1:])
