"""How long the sessions of a replica that was lost have to wait."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

from bench import servers, wire
from bench.sessions.client import Session, open_session
from bench.sessions.page import Figure, at_most, percentile
from bench.sessions.setups import bare

_PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 0.01


async def measure(kills: int, sessions: int) -> list[Figure]:
    """Kill one owner after another; one replica stays."""
    with ExitStack() as running:
        settings = bare().with_store(running.enter_context(servers.store())).settings
        survivor = running.enter_context(servers.moorage(settings))
        waits: list[float] = []
        for _ in range(kills):
            with servers.moorage(settings) as owner:
                waits += await _lose(owner, survivor.port, sessions)
        return [
            at_most(f"first result elsewhere, p50 of {len(waits)} sessions, {kills} kills", percentile(waits, 0.5), "s", digits=3),
            at_most("first result elsewhere, p99", percentile(waits, 0.99), "s", 1.0, digits=3),
        ]


async def _lose(owner: servers.Server, survivor: int, number: int) -> list[float]:
    """Seconds from the kill to each session's first result."""
    clients: list[tuple[wire.Connection, Session]] = []
    first = await wire.connect(owner.port)
    for _ in range(number):
        connection, session = await wire.connect(survivor), await open_session(first, owner.port)
        answer = await connection.ask(session.call(port=survivor))  # by way of the owner: its place is known now
        if not answer.result:
            raise RuntimeError(f"a server under test answered: {answer}")
        clients.append((connection, session))
    owner.kill()
    killed = time.perf_counter()
    waits = await asyncio.gather(*(_until_served(connection, session, survivor, killed) for connection, session in clients))
    for connection, _ in clients:
        connection.close()
    return waits


async def _until_served(connection: wire.Connection, session: Session, port: int, killed: float) -> float:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not (await connection.ask(session.call(port=port))).result:
            await asyncio.sleep(_PAUSE_SECONDS)
    return time.perf_counter() - killed
