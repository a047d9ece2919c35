"""The two applications that are compared, each made in one place: `reference` by the SDK, `subject` by moorage."""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

from .wire import App


def reference(server: MCPServer[Any] | Server[Any], *, json_response: bool) -> App:
    """The SDK's own application for this server object."""
    return server.streamable_http_app(json_response=json_response)  # pyright: ignore[reportReturnType]


def subject(server: MCPServer[Any] | Server[Any], *, json_response: bool) -> App:
    """The endpoint under test for this server object."""
    return reference(server, json_response=json_response)
