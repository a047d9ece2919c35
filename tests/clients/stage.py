"""Where the clients play: replicas of the target behind HAProxy, with Redis or without, and a network on the way that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio.to_thread

from tests.clients import gates
from tests.services import Fleet, Partition, Redis, RoundRobin
from tests.services.processes import accepts, until

TARGET = "tests.clients.target:mcp"


@dataclass(slots=True)
class Stage:
    """What a feature may use and break.

    Attributes:
        way: Between the clients and the balancer.
    """

    fleet: Fleet
    balancer: RoundRobin
    way: Partition
    gates: Path
    _killed: list[int] = field(default_factory=list[int])
    _kills: int = 0

    @property
    def url(self) -> str:
        """The endpoint as clients reach it."""
        return f"http://127.0.0.1:{self.way.port}/mcp"

    def open(self, gate: str) -> None:
        """Let pass whoever waits at a gate, in whatever process."""
        gates.open_gate(self.gates, gate)

    async def given_up(self, gate: str) -> None:
        """Wait until somebody who waited at a gate was interrupted."""
        await anyio.to_thread.run_sync(until, lambda: gates.given_up(self.gates, gate), "the tool is interrupted", 10)

    async def victim(self) -> str:
        """The process that is to be killed next where nobody says which; the same one until a replica is killed."""
        await self.whole()
        return str(self.fleet[self._kills % len(self.fleet)].workers()[0])

    async def kill(self, process: str) -> None:
        """SIGKILL the replica that a worker process, named by its id, belongs to."""
        await self.whole()
        replica = next(each for each in self.fleet.replicas if each.running and int(process) in each.workers())
        self._killed.append(replica.number)
        self._kills += 1
        await anyio.to_thread.run_sync(replica.kill)
        # A thread that dies last still holds the port: what the balancer sends there is lost, as nothing is once the port is shut.
        await anyio.to_thread.run_sync(until, lambda: not accepts(replica.port), f"replica {replica.number} listens no more", 10)

    async def roll(self) -> None:
        """Replace each replica, one after another, as a rolling update does."""
        await self.whole()
        for replica in self.fleet.replicas:
            replica.terminate()
            await anyio.to_thread.run_sync(replica.exited)
            await anyio.to_thread.run_sync(replica.start)

    async def mend(self) -> None:
        """Begin to start what was killed, and let everything pass again."""
        await self.way.heal()
        for number in self._killed:
            self.fleet[number].begin()
        self._killed.clear()

    async def whole(self) -> None:
        """Wait until every replica serves, but those that are killed now."""
        for replica in self.fleet.replicas:
            if replica.number not in self._killed:
                await anyio.to_thread.run_sync(replica.wait_ready)


@asynccontextmanager
async def staged(replicas: int, *, store: bool, settings: Mapping[str, str], log: Path) -> AsyncIterator[Stage]:
    """Set everything up; what the replicas wrote is in `log` afterwards."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="moorage-gates-")))
        redis = await stack.enter_async_context(Redis()) if store else None
        fleet = Fleet(TARGET, size=replicas, store_url=redis and redis.url, settings=settings, variables={gates.FOLDER: str(folder)})
        stack.callback(_write, log, fleet)
        await stack.enter_async_context(fleet)
        balancer = await stack.enter_async_context(RoundRobin(fleet.backends))
        way = await stack.enter_async_context(Partition(balancer.port))
        yield Stage(fleet, balancer, way, folder)


def _write(log: Path, fleet: Fleet) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(fleet.log)
