"""A client of revision 2025-11-25: a session, and the bytes of its requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from bench import wire

VERSION = "2025-11-25"
_AT_ONCE = 32
_CAPABILITIES = {"elicitation": {}, "sampling": {}, "roots": {"listChanged": True}}

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(slots=True)
class Session:
    """A session that was opened, and the ids of its requests."""

    port: int
    name: str
    token: str | None
    numbers: count[int] = field(default_factory=lambda: count(1))

    def call(self, tool: str = "add", port: int | None = None) -> bytes:
        """A `tools/call`, at any replica; it asks for progress."""
        params = {"name": tool, "arguments": {"a": 1, "b": 2}, "_meta": {"progressToken": 1}}
        return self._request("POST", {"jsonrpc": "2.0", "id": next(self.numbers), "method": "tools/call", "params": params}, port)

    def stream(self) -> bytes:
        """The request for the GET stream."""
        return self._request("GET")

    def end(self) -> bytes:
        """The request that ends the session."""
        return self._request("DELETE")

    def _request(self, method: str, message: Any = None, port: int | None = None) -> bytes:
        return request(method, port or self.port, self.token, message, self.name)


def request(method: str, port: int, token: str | None, message: Any = None, session: str | None = None) -> bytes:
    """A request as bytes for the wire."""
    body = b"" if message is None else json.dumps(message).encode()
    head = [
        f"{method} /mcp HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: bench/1",
        "Accept: application/json, text/event-stream" if method == "POST" else "Accept: text/event-stream",
    ]
    if message is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if session is not None:
        head += [f"Mcp-Session-Id: {session}", f"MCP-Protocol-Version: {VERSION}"]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*head, "", ""]).encode() + body


async def open_session(connection: wire.Connection, port: int, token: str | None = None) -> Session:
    """Do the handshake.

    Raises:
        RuntimeError: It was refused; the answer is quoted.
    """
    params = {"protocolVersion": VERSION, "capabilities": _CAPABILITIES, "clientInfo": {"name": "bench", "version": "1.0.0"}}
    initialize = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = await connection.ask(request("POST", port, token, initialize))
    session = Session(port, answer.header("mcp-session-id"), token)
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    accepted = await connection.ask(request("POST", port, token, initialized, session.name))
    if not answer.result or accepted.status != 202:
        raise RuntimeError(f"a server under test answered: {answer} {accepted}")
    return session


async def each(
    port: int, items: Sequence[Item], do: Callable[[wire.Connection, Item], Awaitable[Made]], at_once: int = _AT_ONCE
) -> list[Made]:
    """Do something for each item, over a few connections that are closed afterwards."""
    left, made = list(reversed(items)), []

    async def work() -> None:
        connection = await wire.connect(port)
        while left:
            made.append(await do(connection, left.pop()))
        connection.close()

    await asyncio.gather(*(work() for _ in range(min(at_once, len(items)))))
    return made


async def open_sessions(port: int, number: int, token: str | None = None, at_once: int = _AT_ONCE) -> list[Session]:
    """Open sessions, some at a time."""
    return await each(port, range(number), lambda connection, _: open_session(connection, port, token), at_once)


async def end_sessions(sessions: Sequence[Session]) -> None:
    """End sessions, some at a time.

    Raises:
        RuntimeError: One was not ended.
    """

    async def end(connection: wire.Connection, session: Session) -> None:
        answer = await connection.ask(session.end())
        if answer.status not in (200, 204):
            raise RuntimeError(f"a server under test answered: {answer}")

    await each(sessions[0].port, sessions, end)
