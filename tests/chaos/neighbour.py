"""`python -m tests.chaos.neighbour HOST PORT KEY SECONDS`: a tenant that does nothing odd.

Calls a tool again and again, in the modern era and in a session, and prints one line of JSON: how long each call took, and what was not
answered with a result. It is a process of its own, so that what is measured is the server and not the attacker's event loop.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.load import modern_call
from tests.chaos.wire import BROKEN, Address, request

LOOPS: Final = 2
PAUSE_SECONDS: Final = 0.01
_LEGACY: Final = "2025-11-25"
_ACCEPT: Final = "application/json, text/event-stream"


@dataclass(slots=True)
class Seen:
    """What one neighbour met.

    Attributes:
        seconds: How long each answered call took.
        refused: What was answered otherwise, or not at all.
    """

    seconds: list[float] = field(default_factory=list[float])
    refused: list[str] = field(default_factory=list[str])

    async def call(self, answer: Any) -> None:
        """Make a call, and take note of how it went."""
        began = time.perf_counter()
        try:
            message = await answer
        except BROKEN as error:
            self.refused.append(f"{type(error).__name__}: {error}")
            return
        if "result" in message:
            self.seconds.append(time.perf_counter() - began)
        else:
            self.refused.append(json.dumps(message)[:200])


async def begin_session(address: Address, key: str) -> dict[str, str]:
    """Open a session of the handshake era; returns the headers that its requests carry.

    Raises:
        OSError, EOFError, TimeoutError: The connection failed.
        PermissionError: It was refused.
    """
    headers = {"accept": _ACCEPT, "authorization": f"Bearer {key}"}
    capabilities = {"elicitation": {}}
    params = {"protocolVersion": _LEGACY, "capabilities": capabilities, "clientInfo": {"name": "neighbour", "version": "1"}}
    opened = await request(address, "POST", headers, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    session = opened.headers.get("mcp-session-id")
    said = await opened.message()
    if session is None:
        raise PermissionError(f"{opened.status}: {said}")
    within = {**headers, "mcp-session-id": session, "mcp-protocol-version": _LEGACY}
    (await request(address, "POST", within, {"jsonrpc": "2.0", "method": "notifications/initialized"})).cut()
    return within


async def legacy_call(address: Address, headers: dict[str, str], number: int) -> dict[str, Any]:
    """Call `whoami` within a session.

    Raises:
        OSError, EOFError, TimeoutError: The connection failed.
    """
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
    return await (await request(address, "POST", headers, message)).message()


async def watch(address: Address, key: str, seconds: float) -> Seen:
    """Make calls for so long."""
    seen, until = Seen(), time.monotonic() + seconds

    async def modern() -> None:
        while time.monotonic() < until:
            await seen.call(modern_call(address, key))
            await asyncio.sleep(PAUSE_SECONDS)

    async def legacy() -> None:
        headers, number = await begin_session(address, key), 0
        while time.monotonic() < until:
            number += 1
            await seen.call(legacy_call(address, headers, number))
            await asyncio.sleep(PAUSE_SECONDS)
        (await request(address, "DELETE", headers)).cut()

    await asyncio.gather(*(modern() for _ in range(LOOPS)), *(legacy() for _ in range(LOOPS)))
    return seen


def main(arguments: list[str]) -> None:
    """Watch, and print what was seen."""
    host, port, key, seconds = arguments
    seen = asyncio.run(watch(Address(host, int(port)), key, float(seconds)))
    print(json.dumps({"seconds": seen.seconds, "refused": seen.refused}))


if __name__ == "__main__":
    main(sys.argv[1:])
