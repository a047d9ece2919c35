"""What clients do while something is broken: calls of every kind, notices, cuts, and new sessions where one is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client import Client, Cut
from tests.chaos.wire import BROKEN, Address, request

_MODERN = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "chaos", "version": "1"},
}


@dataclass(slots=True)
class Load:
    """A load that goes on until it is told to end.

    Attributes:
        clients: Whose calls it makes.
        pause_seconds: Pause of a tool between two integers.
        cuts: How likely a call is cut.
        sessions_lost: Sessions that were gone and begun anew.
    """

    clients: Sequence[Client]
    pause_seconds: float = 0.03
    cuts: float = 0.0
    patience_seconds: float = 30.0
    sessions_lost: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Load, None]:
        """Make calls while the block lasts; returns when the last of them has ended."""
        async with asyncio.TaskGroup() as tasks:
            for client in self.clients:
                tasks.create_task(self._calls(client))
            try:
                yield self
            finally:
                self._over.set()

    async def _calls(self, client: Client) -> None:
        while not self._over.is_set():
            await asyncio.gather(
                *(self._call(client, tool) for tool in client.random.sample(["append", "append_once", "notify", "ask"], 2))
            )
            if client.session.gone.is_set():
                self.sessions_lost += 1
                await client.open()
                await client.listen()

    async def _call(self, client: Client, tool: str) -> None:
        chance = client.random
        cuts = []
        if chance.random() < self.cuts:
            cuts = [Cut(chance.uniform(0, 0.02), chance.choice(["close", "leave"]), after_integers=chance.randint(1, 8))]
        await client.call(tool, chance.randint(4, 12), pause_seconds=self.pause_seconds, cuts=cuts, patience_seconds=self.patience_seconds)


@dataclass(slots=True)
class ModernLoad:
    """Modern calls, one after the other at each address; a refused connection is no failure, since nobody was reached."""

    addresses: Sequence[Address]
    key: str
    passed: int = 0
    failed: list[str] = field(default_factory=list[str])
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[ModernLoad, None]:
        """Make calls while the block lasts."""
        async with asyncio.TaskGroup() as tasks:
            for address in self.addresses:
                tasks.create_task(self._calls(address))
            try:
                yield self
            finally:
                self._over.set()

    async def _calls(self, address: Address) -> None:
        while not self._over.is_set():
            await self._call(address)
            await asyncio.sleep(0.02)

    async def _call(self, address: Address) -> None:
        try:
            answer = await modern_call(address, self.key)
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)
        except BROKEN as error:
            self.failed.append(f"{time.time():.3f} {type(error).__name__}: {error}")
        else:
            if "result" in answer:
                self.passed += 1
            else:
                self.failed.append(f"{time.time():.3f} {answer}")


async def modern_call(address: Address, key: str) -> dict[str, Any]:
    """Call `whoami` as a client of the modern revision does; a refusal is the answer too.

    Raises:
        OSError, EOFError, TimeoutError: The connection failed.
    """
    headers = {
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {key}",
        "mcp-protocol-version": _MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "whoami",
    }
    params = {"name": "whoami", "arguments": {}, "_meta": _META}
    exchange = await request(address, "POST", headers, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return await exchange.message()
