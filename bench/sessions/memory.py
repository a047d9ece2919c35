"""Memory of sessions that wait and of streams that are open, and what of it comes back."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from bench import servers, wire
from bench.sessions.client import Session, each, end_sessions, open_sessions
from bench.sessions.page import Figure, at_most
from bench.sessions.setups import Setup, bare

FEW, SOME, MANY = 2_000, 4_000, 10_000
_WARM = 1_100
"""More than any cache of the service remembers of sessions."""

_WARM_STREAMS = 50
_PARKED_SECONDS = 2.0
_SETTLE_SECONDS = 60.0
_IDLE_SHARE = 0.03
_CLOSED_SECONDS = 6.0
"""uvicorn keeps what belongs to a closed connection for the 5 s of its keep-alive time-out."""

_GIVEN_BACK_SECONDS = 14.0
"""Free memory is given back to the system 10 s after most sessions have ended."""

_FEW_AT_ONCE = 4
"""So that the server is not busy with them alone, and has time to park what it does not need."""


@dataclass
class Grown:
    """A server, what it took before there was a session, and the most that it took since."""

    server: servers.Server
    base: int = 0
    peak: int = 0
    sessions: list[Session] = field(default_factory=list)
    streams: list[wire.Connection] = field(default_factory=list)

    async def warm(self) -> None:
        """Have everything allocated that is allocated once."""
        await self.open(_WARM)
        await self.use()
        await self.stream(_WARM_STREAMS)
        await self.end()
        self.base = self.peak = self.server.memory_kib()

    async def open(self, number: int, at_once: int = 32) -> None:
        """Open sessions until there are so many."""
        self.sessions += await open_sessions(self.server.port, number - len(self.sessions), at_once=at_once)

    async def use(self) -> None:
        """Make a call in each session."""
        await each(self.server.port, self.sessions, lambda connection, session: connection.ask(session.call()))

    async def stream(self, number: int) -> None:
        """Open the GET streams of so many of the sessions.

        Raises:
            RuntimeError: One was refused.
        """

        async def listen(_: wire.Connection, session: Session) -> wire.Connection:
            connection = await wire.connect(self.server.port)
            answer = await connection.listen(session.stream())
            if answer.status != 200:
                raise RuntimeError(f"a server under test answered: {answer}")
            return connection

        self.streams += await each(self.server.port, self.sessions[len(self.streams) : number], listen)

    async def end(self, pause: float = _CLOSED_SECONDS) -> None:
        """Close every stream and end every session."""
        for connection in self.streams:
            connection.close()
        await end_sessions(self.sessions)
        self.sessions, self.streams = [], []
        await asyncio.sleep(pause)

    async def above(self, than: int, number: int, *, pause: float = 0.0) -> float:
        """KiB each of a number of things, when the server has no more to do; what it has to do begins within the pause."""
        await asyncio.sleep(pause)
        await self._settled()
        now = self.server.memory_kib()
        self.peak = max(self.peak, now)
        return (now - than) / number

    async def _settled(self) -> None:
        async with asyncio.timeout(_SETTLE_SECONDS):
            before, spent = 0.0, 1.0
            while spent - before > _IDLE_SHARE:
                before = self.server.cpu_seconds()
                await asyncio.sleep(1.0)
                spent = self.server.cpu_seconds()

    def kept(self) -> float:
        """Per cent of the growth that is still there."""
        return 100.0 * (self.server.memory_kib() - self.base) / (self.peak - self.base)


async def measure() -> list[Figure]:
    """One server after another, each with a process of its own."""
    with servers.store() as store:
        idle = bare().having(MOORAGE_SESSIONS__PARK_AFTER_SECONDS="0")
        live = bare().having(MOORAGE_SESSIONS__PARK_AFTER_SECONDS="3600")
        return [
            *await _live("SDK", servers.peer("sdk"), FEW),
            *await _live("no store", _moorage(live), MANY, stream=16.0, kept=25.0),
            *await _live("no store, PYTHONMALLOC=malloc", _moorage(live.having(PYTHONMALLOC="malloc")), SOME, stream=16.0, kept=25.0),
            *await _live("Redis", _moorage(live.with_store(store)), FEW, stream=16.0, kept=25.0),
            *await _parked("no store", _moorage(idle)),
            *await _parked("Redis", _moorage(idle.with_store(store))),
        ]


def _moorage(setup: Setup) -> AbstractContextManager[servers.Server]:
    return servers.moorage(setup.settings)


async def _live(
    name: str,
    starting: AbstractContextManager[servers.Server],
    number: int,
    stream: float | None = None,
    kept: float | None = None,
) -> list[Figure]:
    """Sessions in memory, then as many GET streams, then nothing."""
    with ExitStack() as running:
        grown = Grown(running.enter_context(starting))
        await grown.warm()
        await grown.open(_WARM)  # into the room that those before them left
        before = grown.server.memory_kib()
        await grown.open(_WARM + number)
        await grown.use()
        a_session = await grown.above(before, number)
        before = grown.server.memory_kib()
        await grown.stream(number)
        a_stream = await grown.above(before, number)
        await grown.end(_GIVEN_BACK_SECONDS)
        return [
            at_most(f"{name}: a session of {number:,}, in use lately", a_session, "KiB"),
            at_most(f"{name}: an open GET stream of {number:,}, beside its session", a_stream, "KiB", stream),
            at_most(f"{name}: what is kept of it after all have ended", grown.kept(), "%", kept, digits=0),
        ]


async def _parked(name: str, starting: AbstractContextManager[servers.Server]) -> list[Figure]:
    """Sessions that come one after another and fall silent."""
    with ExitStack() as running:
        grown = Grown(running.enter_context(starting))
        await grown.warm()
        await grown.open(FEW, _FEW_AT_ONCE)
        await grown.above(grown.base, FEW, pause=_PARKED_SECONDS)
        before = grown.server.memory_kib()
        await grown.open(MANY, _FEW_AT_ONCE)
        a_session = await grown.above(before, MANY - FEW, pause=_PARKED_SECONDS)
        return [at_most(f"{name}: an idle session, from {FEW:,} to {MANY:,}", a_session, "KiB", 1.0, digits=2)]
