"""Calls in sessions: CPU time a call beside the SDK's session manager, 32 sessions over as many connections."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench import servers, wire
from bench.sessions.client import Session, open_sessions
from bench.sessions.page import Figure
from bench.sessions.setups import bare, full

CONNECTIONS = 32
PLAIN, ALOUD = "add", "add_aloud"
SDK, SDK_LOG = "SDK", "SDK, event store in its memory"
BARE, FULL, BARE_STORE, FULL_STORE = "bare", "full stack", "bare, Redis", "full stack, Redis"

COMPARED: tuple[tuple[str, str, str, str, float | None], ...] = (
    ("plain call, no store", PLAIN, BARE, SDK, 5.0),
    ("plain call, no store", PLAIN, FULL, SDK, None),
    ("plain call, Redis", PLAIN, BARE_STORE, SDK_LOG, None),
    ("plain call, Redis", PLAIN, FULL_STORE, SDK_LOG, None),
    ("call that streams progress, Redis log", ALOUD, BARE_STORE, SDK_LOG, 2.0),
    ("call that streams progress, Redis log", ALOUD, FULL_STORE, SDK_LOG, None),
    ("call that streams progress, Redis log, to the SDK without a log", ALOUD, BARE_STORE, SDK, None),
    ("call that streams progress, no store", ALOUD, BARE, SDK, None),
    ("call that streams progress, no store", ALOUD, FULL, SDK, None),
)
"""What, the tool, whose, beside whose, and how many times cheaper it is to be."""


@dataclass
class Served:
    """One server with its sessions, and the CPU time of each tool's calls by round."""

    server: servers.Server
    token: str | None
    sessions: list[Session] = field(default_factory=list)
    cpu_us: dict[str, list[float]] = field(default_factory=lambda: {PLAIN: [], ALOUD: []})

    async def round(self, tool: str, calls: int) -> float:
        """Microseconds of CPU a call."""
        left = [calls]

        async def work(connection: wire.Connection, session: Session) -> None:
            while left[0] > 0:
                left[0] -= 1
                answer = await connection.ask(session.call(tool))
                if not answer.result:
                    raise RuntimeError(f"a server under test answered: {answer}")

        connections = [await wire.connect(self.server.port) for _ in self.sessions]  # servers close what was idle for 5 s
        before = self.server.cpu_seconds()
        await asyncio.gather(*map(work, connections, self.sessions))
        spent = self.server.cpu_seconds() - before
        for connection in connections:
            connection.close()
        return spent / calls * 1e6


async def measure(calls: int, rounds: int) -> list[Figure]:
    """Start every server, visit them in turn, forwards and backwards."""
    with ExitStack() as running:
        sink, store = running.enter_context(servers.otlp_sink()), running.enter_context(servers.store())
        served = {SDK: Served(running.enter_context(servers.peer("sdk")), None)}
        served[SDK_LOG] = Served(running.enter_context(servers.peer("sdk-log")), None)
        ours = {BARE: bare(), FULL: full(sink), BARE_STORE: bare().with_store(store), FULL_STORE: full(sink).with_store(store)}
        for name, setup in ours.items():
            settings = setup.having(MOORAGE_SESSIONS__PARK_AFTER_SECONDS="600").settings  # none is idle but for other servers' turns
            served[name] = Served(running.enter_context(servers.moorage(settings)), setup.token)
        for each in served.values():
            each.sessions = await open_sessions(each.server.port, CONNECTIONS, each.token)
            await each.round(PLAIN, calls // 4)
            await each.round(ALOUD, calls // 4)
        for index in range(rounds):
            for each in served.values() if index % 2 == 0 else reversed(served.values()):
                for tool, costs in each.cpu_us.items():
                    costs.append(await each.round(tool, calls))
    return [_figure(served, *compared) for compared in COMPARED]


def _figure(served: dict[str, Served], what: str, tool: str, ours: str, theirs: str, least: float | None) -> Figure:
    our_costs, their_costs = served[ours].cpu_us[tool], served[theirs].cpu_us[tool]
    ratio = statistics.median(theirs / ours for ours, theirs in zip(our_costs, their_costs, strict=True))
    costs = f"{statistics.median(our_costs):.0f} to {statistics.median(their_costs):.0f} µs"
    target = "" if least is None else f">= {least:g} x"
    return Figure(f"{what}: {ours}, to {theirs}", f"{ratio:.2f} x ({costs})", target, least is None or ratio >= least)
