"""What it costs a call to reach another replica than its session's owner."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench import servers, wire
from bench.sessions.client import Session, open_session
from bench.sessions.page import Figure, at_most, percentile
from bench.sessions.setups import bare, full

_WARM = 200


async def measure(pairs: int) -> list[Figure]:
    """Two replicas on one core: they never work at the same time, since one call is made at a time."""
    with ExitStack() as running:
        sink, store = running.enter_context(servers.otlp_sink()), running.enter_context(servers.store())
        figures: list[Figure] = []
        for name, setup, most in (("bare", bare(), 1.5), ("full stack", full(sink), None)):
            settings = setup.with_store(store).settings
            with servers.moorage(settings) as owner, servers.moorage(settings) as other:
                direct, added = await _compare(owner.port, other.port, setup.token, pairs)
            figures += [
                at_most(f"{name}: a call at the owner, p50", percentile(direct, 0.5), "ms", digits=2),
                at_most(f"{name}: what another replica adds, p50", percentile(added, 0.5), "ms", most, digits=2),
                at_most(f"{name}: what another replica adds, p99", percentile(added, 0.99), "ms", digits=2),
            ]
        return figures


async def _compare(owner: int, other: int, token: str | None, pairs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a call at the owner, and how many more the next one took at the other replica."""
    here, there = await wire.connect(owner), await wire.connect(other)
    session = await open_session(here, owner, token)
    direct: list[float] = []
    added: list[float] = []
    for index in range(_WARM + pairs):
        straight, relayed = await _timed(here, session, owner), await _timed(there, session, other)
        if index >= _WARM:
            direct.append(straight)
            added.append(relayed - straight)
    here.close()
    there.close()
    return direct, added


async def _timed(connection: wire.Connection, session: Session, port: int) -> float:
    begun = time.perf_counter()
    answer = await connection.ask(session.call(port=port))
    if not answer.result:
        raise RuntimeError(f"a server under test answered: {answer}")
    return (time.perf_counter() - begun) * 1000
