"""An echo server with the Python SDK, first or second major version.

`python echo_server.py stdio`, or `python echo_server.py http` on a loopback port that the kernel chooses; the HTTP
server of the SDK logs the port and every request.
"""

import sys

ADDRESS = {"host": "127.0.0.1", "port": 0}

try:
    from mcp.server.fastmcp import FastMCP

    def make(http: bool):
        """The first version is told its address when it is made."""
        return FastMCP("python-echo", **(ADDRESS if http else {})), {}

except ImportError:
    from mcp.server import MCPServer

    def make(http: bool):
        """The second version is told its address when it runs."""
        return MCPServer("python-echo"), (ADDRESS if http else {})


def main() -> None:
    http = sys.argv[1:] == ["http"]
    server, address = make(http)

    @server.tool()
    def echo(message: str) -> str:
        """Answers with the message it was sent."""
        return f"Echo: {message}"

    server.run(transport="streamable-http" if http else "stdio", **address)


main()
