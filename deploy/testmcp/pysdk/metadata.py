"""Reads an authorization server's metadata as the SDK's clients do.

    metadata.py ISSUER
"""

import sys

import anyio
import httpx2
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    create_oauth_metadata_request,
    handle_auth_metadata_response,
    validate_metadata_issuer,
)


async def main(issuer: str) -> None:
    async with httpx2.AsyncClient() as http:
        for url in build_oauth_authorization_server_metadata_discovery_urls(issuer, issuer):
            _, metadata = await handle_auth_metadata_response(await http.send(create_oauth_metadata_request(url)))
            if metadata is not None:
                validate_metadata_issuer(metadata, issuer)
                print(metadata.issuer)
                return
    sys.exit("there is no metadata")


anyio.run(main, *sys.argv[1:])
