"""One fault against the Python SDK's `ClientSessionGroup`: what the caller is told, as one line of JSON.

`python group.py PLAY URL`, or `python group.py PLAY COMMAND ARG..`. PLAY is what is done with the group: connect, call, close,
or close-elsewhere, which closes it from another task.
"""

import asyncio
import json
import sys
import time

from mcp import ClientSessionGroup, StdioServerParameters

try:
    from mcp.client.session_group import StreamableHttpParameters
except ImportError:
    StreamableHttpParameters = None

# What a caller has patience for.
PATIENCE = 12


def server(words):
    if words[0].startswith("http"):
        return StreamableHttpParameters(url=words[0])
    return StdioServerParameters(command=words[0], args=words[1:])


def causes(error):
    """An error and what is inside it, outermost first."""
    told = [f"{type(error).__name__}: {error}" if str(error) else type(error).__name__]
    for inner in getattr(error, "exceptions", []):
        told += causes(inner)
    if error.__cause__ is not None:
        told += causes(error.__cause__)
    return told


async def play(what, params):
    began = time.monotonic()
    group = ClientSessionGroup()
    await group.__aenter__()
    await group.connect_to_server(params)
    if what == "call":
        began = time.monotonic()
        result = await group.call_tool("echo", {"message": "ahoy", "text": "ahoy"})
        return began, f"a result: {result.content[0].text}"
    if what == "close":
        began = time.monotonic()
        await group.__aexit__(None, None, None)
        return began, "closed"
    if what == "close-elsewhere":
        began = time.monotonic()
        await asyncio.create_task(group.__aexit__(None, None, None))
        return began, "closed"
    return began, "connected"


def main():
    what, params = sys.argv[1], server(sys.argv[2:])
    began = time.monotonic()

    async def bounded():
        nonlocal began
        try:
            began, told = await asyncio.wait_for(play(what, params), PATIENCE)
        except TimeoutError:
            told = f"nothing within {PATIENCE} s"
        except BaseException as error:
            told = ": ".join(causes(error))
        print(json.dumps({"told": told, "ms": int((time.monotonic() - began) * 1000)}), flush=True)

    try:
        asyncio.run(bounded())
    except BaseException as error:
        print(f"the loop ended with {type(error).__name__}", file=sys.stderr)


main()
