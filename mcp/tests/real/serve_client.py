"""A client of the Python SDK, of either major version, against the gateway.

    serve_client.py URL TOOL DEAD_TOOL
    serve_client.py stdio TOOL DEAD_TOOL PROGRAM [ARGUMENT ...]

Over HTTP it sends the bearer token in the environment's TOKEN, if there is one. Lists the tools, calls TOOL with {"message": "ahoy"}, calls DEAD_TOOL, and prints one line for each.
"""

import asyncio
import os
import sys
import time


async def use(session, tool, dead):
    tools = []
    cursor = None
    while True:
        page = await (session.list_tools(cursor=cursor) if cursor else session.list_tools())
        tools.extend(page.tools)
        cursor = getattr(page, "nextCursor", None) or getattr(page, "next_cursor", None)
        if not cursor:
            break
    print("tools", len(tools))
    result = await session.call_tool(tool, {"message": "ahoy"})
    print("called", result.content[0].text)
    try:
        result = await session.call_tool(dead, {})
        print("dead", result.content[0].text)
    except Exception as error:
        print("dead", error)


async def main():
    where, tool, dead, *program = sys.argv[1:]
    token = os.environ.get("TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    began = time.monotonic()
    try:
        # Version 2: one class for all, which finds the era by itself.
        from mcp import Client
    except ImportError:
        Client = None
    if Client is not None:
        if where == "stdio":
            from mcp import StdioServerParameters
            from mcp.client.stdio import stdio_client

            target = stdio_client(StdioServerParameters(command=program[0], args=program[1:]))
        else:
            import httpx2
            from mcp.client.streamable_http import streamable_http_client

            target = streamable_http_client(where, http_client=httpx2.AsyncClient(headers=headers, timeout=60))
        async with Client(target) as client:
            await use(client, tool, dead)
            print("used")
    else:
        from mcp import ClientSession, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamablehttp_client

        if where == "stdio":
            transport = stdio_client(StdioServerParameters(command=program[0], args=program[1:]))
        else:
            transport = streamablehttp_client(where, headers=headers)
        async with transport as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                await use(session, tool, dead)
                print("used")
    print("left after", round(time.monotonic() - began, 1), "s")


asyncio.run(main())
