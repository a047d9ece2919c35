"""The peers, each as its own documentation says to serve it: `python -m bench.peers sdk|sdk-log|fastmcp PORT`."""

import logging
import sys
from typing import Any

import uvicorn


def sdk() -> Any:
    """The official SDK's default application, bare: no keys, no metrics, no log line."""
    from bench.tools import mcp

    return mcp.streamable_http_app()


def sdk_log() -> Any:
    """The same with an event log in its memory, so that its streams can be resumed."""
    from bench.event_log import MemoryEvents
    from bench.tools import mcp

    return mcp.streamable_http_app(event_store=MemoryEvents())


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
    application = {"sdk": sdk, "sdk-log": sdk_log, "fastmcp": fastmcp}[name]()
    logging.getLogger("mcp").setLevel(logging.ERROR)
    uvicorn.run(application, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
