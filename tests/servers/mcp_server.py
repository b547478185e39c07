"""An MCP server as a program: `python mcp_server.py LOG` over stdio, `python mcp_server.py LOG PORT` over HTTP.

It writes each of its starts and calls as a line to the file LOG. LOOK in its environment is another name for `look`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mcp.server import MCPServer

LOG = Path(sys.argv[1])
server = MCPServer("shop", log_level="ERROR")


def written(line: str) -> None:
    with LOG.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


@server.tool(name=os.environ.get("LOOK"))
def look(place: str) -> str:
    """Looks something up."""
    written(f"look {place}")
    return f"{place} is open"


@server.tool()
def die(once: str) -> str:
    """Takes the server with it, unless it did so before."""
    died = f"die {once}" in LOG.read_text(encoding="utf-8").splitlines()
    written(f"die {once}")
    if not died:
        os._exit(1)
    return "alive"


if __name__ == "__main__":
    written("start")
    if len(sys.argv) > 2:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
