"""The MCP servers that both applications serve.

`everyday` has every kind of tool, `guarded` has middleware in front, `lowlevel` is no MCPServer.

Each application gets an object of its own, built alike. A `Built` carries what a server noted while it ran (which is compared too)
and the events by which a test waits for a tool instead of sleeping.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer


@dataclass(slots=True)
class Notes:
    """What a server saw; ``take`` empties it."""

    lines: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    lingering: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> tuple[str, ...]:
        """The lines since the last time."""
        lines, self.lines = tuple(self.lines), []
        return lines


@dataclass(frozen=True, slots=True)
class Built:
    """A server object and its notes."""

    server: MCPServer[Any] | Server[Any]
    notes: Notes


def build(name: str) -> Built:
    """Build one of the servers anew."""
    from . import everyday, guarded, lowlevel

    builders = {"everyday": everyday.build, "guarded": guarded.build, "lowlevel": lowlevel.build}
    notes = Notes()
    return Built(builders[name](notes), notes)
