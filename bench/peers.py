"""The peers, each as its own documentation says to serve it: `python bench/peers.py sdk|fastmcp PORT`."""

import logging
import sys
from typing import Any

import uvicorn


def sdk() -> Any:
    """The official SDK's default application, bare: no keys, no metrics, no log line."""
    from bench.tools import mcp

    return mcp.streamable_http_app()


def fastmcp() -> Any:
    """FastMCP, bare."""
    from fastmcp import FastMCP  # pyright: ignore[reportMissingImports]

    server: Any = FastMCP("bench")

    @server.tool
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    return server.http_app()


if __name__ == "__main__":
    name, port = sys.argv[1], int(sys.argv[2])
    application = {"sdk": sdk, "fastmcp": fastmcp}[name]()
    logging.getLogger("mcp").setLevel(logging.ERROR)
    uvicorn.run(application, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
