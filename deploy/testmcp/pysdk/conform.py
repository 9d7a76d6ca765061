"""The client that the conformance suite drives: `vended.py` with the grant that each
scenario is about. The suite appends the server's URL and puts what the client is to know
into the environment."""

import json
import os
import sys
import time
import uuid

import anyio
import httpx2
import jwt
import vended
import wire

context = json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])


async def workload(issuer: str) -> dict[str, str]:
    return {"grant_type": vended.JWT_BEARER, "assertion": context["valid_jwt"], "client_id": context["client_id"]}


async def secret(issuer: str) -> dict[str, str]:
    return {"grant_type": "client_credentials"}


async def signed(issuer: str) -> dict[str, str]:
    now, client = int(time.time()), context["client_id"]
    claims = {"iss": client, "sub": client, "aud": issuer, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4())}
    return {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, context["private_key_pem"], context.get("signing_algorithm", "ES256")),
    }


async def managed(issuer: str) -> dict[str, str]:
    async with httpx2.AsyncClient() as http:
        answer = await http.post(
            context["idp_token_endpoint"],
            data={
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
                "subject_token": context["idp_id_token"],
                "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
                "client_id": context["idp_client_id"],
                "audience": issuer,
                "resource": sys.argv[1],
            },
        )
    return {"grant_type": vended.JWT_BEARER, "assertion": answer.raise_for_status().json()["access_token"]}


async def main(url: str) -> None:
    basic = (context["client_id"], context["client_secret"]) if "client_secret" in context else None
    for name, grant in {"valid_jwt": workload, "idp_id_token": managed, "private_key_pem": signed, "client_secret": secret}.items():
        if name in context:
            auth = vended.Vended(url, grant, basic)
            break
    async with wire.connect("streamable", url, auth, wire.Seen()) as client:
        print(await wire.tools(client))


anyio.run(main, *sys.argv[1:])
