"""What a cold crowd asks of the server that CAMBIO_URL names: python bench_crowd.py TARGET prints it.

200 threads, then 1,000 coroutines, want the same credential at once, and nobody has it yet.
"""

import asyncio
import sys
import threading
from collections.abc import Mapping

import cambio_client

THREADS, COROUTINES = 200, 1000


class Counted:
    """A transport that counts what is sent."""

    def __init__(self) -> None:
        self.count, self.inner = 0, cambio_client.HttpTransport()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> cambio_client.Response:
        self.count += 1
        return self.inner.send(method, url, headers, body, timeout)


def threads(source: cambio_client.TokenSource) -> set[str]:
    together = threading.Barrier(THREADS)
    seen: set[str] = set()

    def one() -> None:
        together.wait()
        seen.add(source.token().exchange_id)

    crowd = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return seen


async def coroutines(source: cambio_client.TokenSource) -> set[str]:
    return {token.exchange_id for token in await asyncio.gather(*(source.atoken() for _ in range(COROUTINES)))}


def main() -> int:
    worst = 0
    for name in (f"{THREADS} threads", f"{COROUTINES} coroutines"):
        counted = Counted()
        source = cambio_client.Client(transport=counted).token_source(sys.argv[1])
        seen = threads(source) if name.endswith("threads") else asyncio.run(coroutines(source))
        print(f"{name:16}  {counted.count} sent, {len(seen)} exchange")
        worst = max(worst, counted.count, len(seen))
    return 0 if worst == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
