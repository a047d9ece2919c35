"""The two applications that are compared, each made in one place: `reference` by the SDK, `subject` by moorage."""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

from moorage.app import create_app
from moorage.settings import Settings

from .wire import App


def reference(server: MCPServer[Any] | Server[Any], *, json_response: bool) -> App:
    """The SDK's own application for this server object."""
    return server.streamable_http_app(json_response=json_response)  # pyright: ignore[reportReturnType]


def subject(server: MCPServer[Any] | Server[Any], *, json_response: bool) -> App:
    """The endpoint under test for this server object: the whole application, as `moorage serve` runs it."""
    settings = Settings.model_validate({"admin": {"port": 0}, "http": {"json_responses": json_response}, "logs": {"level": "error"}})
    return create_app(settings, server)  # pyright: ignore[reportReturnType]
