"""What a case runs on, and what it says: the stage of real processes, the run of one case, and its figures."""

from __future__ import annotations

import asyncio
import math
import random
import re
import shutil
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from anyio import to_thread

from moorage.security.api_keys import generate
from tests.chaos.checker import ANSWER_SECONDS, Finding, Report, check
from tests.chaos.client import Client
from tests.chaos.history import JOURNAL_VARIABLE, Asked, Ended, Fault, History
from tests.chaos.wire import Address
from tests.services.fleet import Fleet
from tests.services.haproxy import RoundRobin
from tests.services.partition import Partition
from tests.services.processes import LOOPBACK
from tests.services.redis import Redis

TARGET: Final = "tests.chaos.tools:mcp"
TENANTS: Final = ("alice", "bob")
SHOWN_FINDINGS: Final = 12
_LOOK_SECONDS: Final = 0.02
_NEXT_TO_NOTHING: Final = 4

SETTINGS: Final[Mapping[str, str]] = {
    "SESSIONS__MAX_SESSIONS_PER_PRINCIPAL": "10000",
    "SESSIONS__MAX_STREAMS": "8192",
    "DRAIN__SETTLE_SECONDS": "1",
    "LOGS__LEVEL": "info",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a stage consists of: equal ones are shared by cases that follow each other.

    Attributes:
        replicas: How many.
        partitioned: Whether the first replica reaches the store over a network that can be broken.
        appendonly: Whether the store keeps its data over a kill.
        maxmemory: What the store may hold, as Redis writes it; no bound when not given.
        skew_seconds: How fast the wall clock of the second replica is.
        settings: Settings beside `SETTINGS`, as pairs.
    """

    replicas: int = 3
    partitioned: bool = False
    appendonly: bool = False
    maxmemory: str | None = None
    skew_seconds: float = 0
    settings: tuple[tuple[str, str], ...] = ()


class Stage:
    """A store, a fleet that shares it, and a round robin before the fleet; everything ends with the block.

    Attributes:
        addresses: Where requests are sent that may go anywhere; clients keep the list itself.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.journal = Path(tempfile.mkdtemp(prefix="moorage-chaos-"))
        self.keys: dict[str, str] = {}
        self.redis = Redis(appendonly=shape.appendonly, maxmemory=shape.maxmemory)
        self.partition: Partition | None = None
        self.fleet: Fleet
        self.proxy: RoundRobin
        self.addresses: list[Address] = []
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._exits.callback(shutil.rmtree, self.journal, ignore_errors=True)
        try:
            await self._enter()
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def _enter(self) -> None:
        await self._exits.enter_async_context(self.redis)
        over: dict[int, str] = {}
        if self.shape.partitioned:
            self.partition = await self._exits.enter_async_context(Partition(self.redis.port))
            over[0] = self.redis.url_at(self.partition.port)
        lines: list[str] = []
        for name in TENANTS:
            self.keys[name], stored = generate(name)
            lines.append(stored)
        self.fleet = Fleet(
            TARGET,
            size=self.shape.replicas,
            store_url=self.redis.url,
            store_urls=over,
            settings={**SETTINGS, "SECURITY__API_KEYS": "\n".join(lines), **dict(self.shape.settings)},
            variables={JOURNAL_VARIABLE: str(self.journal), "PYTHONWARNINGS": "ignore"},
            clock_skew_seconds={1: self.shape.skew_seconds} if self.shape.skew_seconds else None,
        )
        await self._exits.enter_async_context(self.fleet)
        self.addresses = [self.address(number) for number in range(len(self.fleet))]
        self.proxy = RoundRobin(self.fleet.backends)
        await self._exits.enter_async_context(self.proxy)

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def restart(self, number: int) -> None:
        """Start a replica that was killed; requests go to it again when it is ready, since its socket listens long before."""
        self.addresses.remove(self.address(number))
        await to_thread.run_sync(self.fleet[number].start)
        self.addresses.append(self.address(number))

    def address(self, number: int) -> Address:
        """Of one replica."""
        return Address(LOOPBACK, self.fleet[number].port)

    @property
    def round_robin(self) -> list[Address]:
        """Of the proxy before all of them."""
        return [Address(LOOPBACK, self.proxy.port)]

    def replica_of(self, process: int) -> int:
        """The number of the replica that a worker belongs to.

        Raises:
            LookupError: It is gone.
        """
        for replica in self.fleet.replicas:
            if replica.running and process in replica.workers():
                return replica.number
        raise LookupError(f"process {process} belongs to no replica that runs")


@dataclass(slots=True)
class Run:
    """One case while it runs, and what it found."""

    name: str
    stage: Stage
    seed: int
    short: bool
    history: History = field(default_factory=History)
    figures: dict[str, str] = field(default_factory=dict[str, str])
    problems: list[str] = field(default_factory=list[str])
    report: Report | None = None
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed}:{self.name}")

    def scaled(self, *, short: int, full: int) -> int:
        """A number that depends on how long the run may take."""
        return short if self.short else full

    def client(self, name: str, *, tenant: str = TENANTS[0], addresses: Sequence[Address] = ()) -> Client:
        """A client that goes to all replicas in turn, or to some."""
        return Client(name, addresses or self.stage.addresses, self.history, self.seed, key=self.stage.keys[tenant])

    @asynccontextmanager
    async def listening(
        self, count: int, *, tenant: str = TENANTS[0], addresses: Sequence[Address] = ()
    ) -> AsyncGenerator[list[Client], None]:
        """So many clients with an open GET stream each; none is closed while something is still on its way to one of them."""
        async with AsyncExitStack() as exits:
            clients = [self.client(f"{tenant}-{number}", tenant=tenant, addresses=addresses) for number in range(count)]
            for client in clients:
                await exits.enter_async_context(client)
                await client.listen()
            yield clients
            await self.arrived()

    def require(self, holds: object, otherwise: str) -> None:
        """Something that must hold."""
        if not holds:
            self.problems.append(otherwise)

    def figure(self, name: str, value: object) -> None:
        """Something to be printed."""
        self.figures[name] = str(value)

    @asynccontextmanager
    async def fault(self, what: str) -> AsyncGenerator[None, None]:
        """Something is broken as long as the block lasts."""
        began = time.time()
        try:
            yield
        finally:
            self.history.add(Fault(began, time.time(), what))

    def broke(self, what: str, began: float) -> None:
        """Something broke at once, and is over."""
        self.history.add(Fault(began, began, what))

    def abandon(self) -> None:
        """The recorder itself gave up: calls that were not overdue then are cut by their client, and nothing else."""
        ended = {record.call for record in self.history.of(Ended)}
        now = time.time()
        for call in self.history.of(Asked):
            if call.call not in ended and call.at + call.seconds + ANSWER_SECONDS > now:
                self.history.add(Ended(now, call.session, call.call, "cut"))

    @asynccontextmanager
    async def watching_the_machine(self) -> AsyncGenerator[None, None]:
        """Measure how long the recorder and the store were kept from running: a machine that is too busy for them proves little."""
        pauses = {"recorder": 0.0, "store": 0.0}
        tasks = [asyncio.create_task(_watch_loop(pauses)), asyncio.create_task(_watch_store(self.stage.redis.port, pauses))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for name, longest in pauses.items():
                self.figure(f"longest pause of the {name}", f"{1000 * longest:.0f} ms")

    async def freed(self, within: float = 15.0) -> None:
        """Wait until the first replica serves next to nothing; what it still holds after a while is wrong."""
        url, active = f"{self.stage.fleet[0].admin_url}/metrics", 0.0
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            text = await to_thread.run_sync(_read, url)
            active = sum(float(value) for value in re.findall(r"^http_server_active_requests(?:{[^}]*})? ([0-9.e+-]+)", text, re.MULTILINE))
            if active <= _NEXT_TO_NOTHING:
                return
            await asyncio.sleep(0.1)
        self.problems.append(f"{active:.0f} requests are still served {within:g} s after the attack")

    async def arrived(self, within: float = 10.0) -> None:
        """Wait until nothing is missing that clients may count on, or the time is over: then it is lost."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            history = History(list(self.history.records))
            history.read_journals(self.stage.journal)
            if not check(history).of("lost"):
                return
            await asyncio.sleep(0.2)

    async def finish(self, *, gaps: bool = False) -> Report:
        """Examine the history; explicit gaps and lost sessions are wrong too where nothing that was kept could get lost."""
        await self.arrived()
        self.history.read_journals(self.stage.journal)
        report = self.report = check(self.history)
        self.problems += [str(finding) for finding in report.findings[:SHOWN_FINDINGS]]
        if len(report.findings) > SHOWN_FINDINGS:
            self.problems.append(f"and {len(report.findings) - SHOWN_FINDINGS} more: {_kinds(report.findings)}")
        told = {name: count for name, count in report.counts.items() if name.startswith("gap: ")}
        self.require(gaps or not told, f"clients were told of gaps that need not be: {told}")
        self.figure("calls", report.counts["calls"])
        self.figure("integers received", report.counts["received"])
        self.figure("findings", len(report.findings))
        for name in sorted(report.counts):
            if name.startswith(("error", "refused", "gap")) or (name in ("cut", "reruns", "silent") and report.counts[name]):
                self.figure(name, report.counts[name])
        if report.resumed:
            self.figure("resumed", spread(report.resumed))
        self.figure("errors logged", self._errors_logged())
        if report.waited:
            self.figure("waited for an answer", spread(report.waited))
        if report.answered:
            self.figure("fault to answer", spread(report.answered))
        return report

    def _errors_logged(self) -> str:
        """How many lines of severity error the replicas have logged since the stage began, and the most frequent one."""
        events = [event for replica in self.stage.fleet.replicas for event in replica.events() if event.get("level") == "error"]
        if not events:
            return "0"
        name, times = Counter(str(event["event"]) for event in events).most_common(1)[0]
        return f"{len(events)}, {times} of them: {name[:80]}"


async def _watch_loop(pauses: dict[str, float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(_LOOK_SECONDS)
        pauses["recorder"] = max(pauses["recorder"], time.monotonic() - began - _LOOK_SECONDS)


async def _watch_store(port: int, pauses: dict[str, float]) -> None:
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                began = time.monotonic()
                writer.write(b"PING\r\n")
                while await reader.readline():
                    pauses["store"] = max(pauses["store"], time.monotonic() - began)
                    await asyncio.sleep(_LOOK_SECONDS)
                    began = time.monotonic()
                    writer.write(b"PING\r\n")
            finally:
                writer.transport.abort()
        await asyncio.sleep(_LOOK_SECONDS)


def _kinds(findings: Sequence[Finding]) -> str:
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.wrong] = counts.get(finding.wrong, 0) + 1
    return ", ".join(f"{count} {wrong}" for wrong, count in counts.items())


Play = Callable[[Run], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the issue's table, what must hold in it, and the longest it may take in its short and its full form."""

    name: str
    holds: str
    play: Play
    shape: Shape = Shape()
    seconds: tuple[int, int] = (60, 900)


def _read(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
        return answer.read().decode()


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> str:
    """Values in seconds, as text: how many, the median, the 99th percentile and the largest."""
    p50, p99, largest = (1000 * percentile(values, percent) for percent in (50, 99, 100))
    return f"n={len(values)} p50={p50:.0f} ms p99={p99:.0f} ms max={largest:.0f} ms"
