"""Does what it is told on standard input, one JSON object a line, in one session, and
says what came of it on standard output in the same way.

    client.py streamable|sse URL

{"token": …} is the token from now on; {"do": "open" | "list" | "call" | "close"}.
"""

import contextlib
import json
import sys

import anyio
import wire


def reason(e: BaseException) -> str:
    while isinstance(e, BaseExceptionGroup):
        e = e.exceptions[0]
    return f"{type(e).__name__}: {e}"


async def main(transport: str, url: str) -> None:
    bearer, seen, stack, client = wire.Bearer(), wire.Seen(), contextlib.AsyncExitStack(), None

    async def do(what: str):
        nonlocal client, stack
        if what == "open":
            client = await stack.enter_async_context(wire.connect(transport, url, bearer, seen))
        elif what == "list":
            return await wire.tools(client)
        elif what == "call":
            return await wire.whoami(client)
        elif what == "close":
            await stack.aclose()
            client, stack = None, contextlib.AsyncExitStack()

    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        order = json.loads(line)
        bearer.token = order.get("token", bearer.token)
        seen.status, seen.challenge = 0, ""
        answer = {}
        try:
            answer["result"] = await do(order["do"])
        except BaseException as e:  # a refused connection ends the SDK's task group, and comes out as it likes
            answer["error"] = reason(e)
            if order["do"] == "open":
                stack, client = contextlib.AsyncExitStack(), None
        answer["status"], answer["challenge"] = seen.status, seen.challenge
        print(json.dumps(answer), flush=True)


anyio.run(main, *sys.argv[1:])
