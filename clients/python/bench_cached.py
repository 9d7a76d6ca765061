"""What a cached token costs: python bench_cached.py prints it, in microseconds."""

import asyncio
import sys
import timeit
from collections.abc import Mapping

import cambio_client

ROUNDS, CALLS = 5, 100_000
MOST = 20.0
"""Microseconds that a cached token may cost."""

ANSWER = b'{"access_token": "t", "token_type": "Bearer", "issued_token_type": "urn:x", "expires_in": 900}'


class Memory:
    """A transport that answers by itself."""

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> cambio_client.Response:
        return cambio_client.Response(200, {}, ANSWER)


async def calls(source: cambio_client.TokenSource) -> float:
    clock = timeit.default_timer
    began = clock()
    for _ in range(CALLS):
        await source.atoken(min_left=60)
    return clock() - began


def main() -> int:
    client = cambio_client.Client("https://cambio.example", identity=lambda: "a.b.c", transport=Memory())
    source = client.token_source("bench")
    source.token()
    figures = {
        "token()": min(timeit.repeat(source.token, number=CALLS, repeat=ROUNDS)),
        "token(min_left=60)": min(timeit.repeat(lambda: source.token(min_left=60), number=CALLS, repeat=ROUNDS)),
        "await atoken(min_left=60)": min(asyncio.run(calls(source)) for _ in range(ROUNDS)),
    }
    for name, seconds in figures.items():
        print(f"{name:26} {seconds / CALLS * 1e6:6.2f} µs")
    return 0 if max(figures.values()) / CALLS * 1e6 < MOST else 1


if __name__ == "__main__":
    sys.exit(main())
