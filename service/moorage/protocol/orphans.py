"""Calls whose owner was lost: what is kept of a call while it streams, and how it ends when somebody else has to end it.

A call may run again if nobody can tell one run from two: a tool that says so itself (`readOnlyHint`, `idempotentHint`), and the protocol's
own read requests. Every other one ends with an error that says that its outcome is unknown.

Source: docs/decisions/2026-11-24-ownership.md; MCP 2025-11-25, schema, "ToolAnnotations"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from mcp.server.mcpserver import MCPServer

from moorage.protocol import sdk
from moorage.protocol.encoding import Unwritable, decode_lenient, encode
from moorage.protocol.messages import RequestMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp.server.lowlevel.server import Server

    from moorage.store.sessions import Entry

_READS: Final = frozenset(
    {
        "ping",
        "tools/list",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "completion/complete",
    }
)

_FORMAT: Final = 1

MOST_KEPT_BYTES: Final = 64 * 1024
"""Largest parameters that are kept so that a call can run again."""


class Repeatable:
    """Says which calls of one server may run again."""

    def __init__(self, target: MCPServer[Any] | Server[Any]) -> None:
        self._registry = target if isinstance(target, MCPServer) else None

    def __call__(self, message: RequestMessage) -> bool:
        """Whether this one may. A low-level server keeps no registry of tools, so its calls may not."""
        if message.method in _READS:
            return True
        name = (message.params or {}).get("name")
        if message.method != "tools/call" or self._registry is None or not isinstance(name, str):
            return False
        tool = sdk.registered_tool(self._registry, name)
        hints = None if tool is None else tool.annotations
        return hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)


def register(message: RequestMessage, *, repeatable: bool) -> bytes:
    """What is kept of a call."""
    kept: dict[str, Any] = {"v": _FORMAT, "id": message.id, "method": message.method}
    if repeatable:
        try:
            whole = encode({**kept, "params": message.params, "again": True})
        except Unwritable:  # it cannot be kept, so it does not run again
            return encode(kept)
        if len(whole) <= MOST_KEPT_BYTES:
            return whole
    return encode(kept)


class Registered(NamedTuple):
    """A call that was kept, and whether it may run again."""

    message: RequestMessage
    again: bool


def registered(text: bytes) -> Registered | None:
    """Read what `register` wrote; None for what another release did."""
    kept = cast("dict[str, Any]", decode_lenient(text))
    if kept.get("v") != _FORMAT:
        return None
    return Registered(RequestMessage(kept["id"], kept["method"], kept.get("params")), bool(kept.get("again")))


def progress_seen(entries: Iterable[Entry]) -> float | None:
    """The highest progress that stands in a call's stream; None without any."""
    seen: float | None = None
    for entry in entries:
        match _message(entry.data):
            case {"method": "notifications/progress", "params": {"progress": int() | float() as value}} if seen is None or value > seen:
                seen = value
            case _:
                pass
    return seen


def _message(data: bytes) -> Any:
    """What an event of a log says; anybody who writes to the store may have written it."""
    try:
        return decode_lenient(data)
    except (ValueError, RecursionError):
        return None
