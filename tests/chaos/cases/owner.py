"""The owner of a session dies, loses the store, or has another idea of the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from anyio import to_thread

from tests.chaos.checker import ANSWER_SECONDS
from tests.chaos.client import Client, Refused
from tests.chaos.load import Load
from tests.chaos.run import Case, Run, Shape, percentile, spread
from tests.chaos.wire import BROKEN, Address
from tests.chaos.writes import Watch

_RESUME_SECONDS = 2.0
_TAKEOVER_SECONDS = 1.0
_HEAL_SECONDS = 10.0
_LEASE_SECONDS = 5.0


async def kill(run: Run) -> None:
    """SIGKILL of whole replicas, each time that of some client's owner, under calls and notices; two may be away at once."""
    kills = run.scaled(short=20, full=300)
    takeovers: list[float] = []
    away: dict[int, asyncio.Task[None]] = {}
    async with run.listening(8) as clients, Load(clients, pause_seconds=0.04).running():
        for _ in range(kills):
            await asyncio.sleep(run.random.uniform(0.1, 0.4))
            while sum(not task.done() for task in away.values()) >= 2:
                await asyncio.wait([task for task in away.values() if not task.done()], return_when=asyncio.FIRST_COMPLETED)
            victim = run.random.choice(clients)
            number = await _replica_of(run, victim)
            if number is None:
                continue
            began = time.time()
            await to_thread.run_sync(run.stage.fleet.kill, number)
            run.broke(f"SIGKILL of replica {number}", began)
            takeovers.append(await _taken_over(victim) - began)
            away[number] = asyncio.create_task(run.stage.restart(number))
        await asyncio.gather(*away.values())
    report = await run.finish()
    run.figure("kills", len(takeovers))
    run.figure("taken over", spread(takeovers))
    run.require(percentile(takeovers, 99) <= _TAKEOVER_SECONDS, f"takeover: {spread(takeovers)}")
    run.require(percentile(report.resumed or [0], 99) <= _RESUME_SECONDS, f"resume: {spread(report.resumed)}")
    run.require(max(report.waited) <= ANSWER_SECONDS, f"calls waited for their answer: {spread(report.waited)}")


async def _replica_of(run: Run, client: Client) -> int | None:
    """The replica that owns a client's session; None while it has no owner that lives."""
    try:
        return run.stage.replica_of(await client.owner())
    except (LookupError, Refused, *BROKEN):
        return None


async def _taken_over(client: Client) -> float:
    """When the client's session was served again."""
    deadline = time.time() + 3 * ANSWER_SECONDS
    while time.time() < deadline:
        try:
            await client.owner()
        except (Refused, *BROKEN):
            await asyncio.sleep(0.005)
        else:
            break
    return time.time()


async def partition(run: Run) -> None:
    """The owner's way to the store is cut, or stalls; its sessions are used at other replicas and at itself."""
    broken = run.stage.partition
    assert broken is not None
    healed: list[float] = []
    async with Watch(run.stage.redis) as watch:
        for number in range(run.scaled(short=2, full=12)):
            async with AsyncExitStack() as exits:
                clients = [run.client(f"p{number}-{each}", addresses=[run.stage.address(0)]) for each in range(4)]
                for client in clients:
                    await exits.enter_async_context(client)
                    await client.listen()
                    client.addresses = run.stage.addresses
                async with Load(clients, pause_seconds=0.1).running():
                    await asyncio.sleep(1)
                    async with run.fault("partition"):
                        await (broken.stall() if number % 2 else broken.cut())
                        await asyncio.sleep(run.random.uniform(0.5, 2) if number % 3 == 2 else _LEASE_SECONDS + 2)
                        await broken.heal()
                        healed.append(await serves(run, [run.stage.address(0)]))
                    await asyncio.sleep(1)
    await run.finish()
    run.problems += watch.problems()
    run.figure("healed", spread(healed))
    run.figure("writes in the store", watch.written)
    run.figure("writes fenced", watch.fenced)
    run.require(max(healed) <= _HEAL_SECONDS, f"healed: {spread(healed)}")


async def serves(run: Run, addresses: Sequence[Address]) -> float:
    """Seconds until sessions can be begun and used at one of some addresses."""
    began = time.monotonic()
    while time.monotonic() - began < 3 * _HEAL_SECONDS:
        client = run.client("probe", addresses=addresses)
        try:
            async with asyncio.timeout(5):
                await client.open()
                await client.owner()
                break
        except (Refused, *BROKEN):
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def clocks(run: Run) -> None:
    """One of three replicas is five minutes ahead; sessions are used everywhere, cut, and taken over both ways."""
    async with run.listening(6) as clients, Load(clients, pause_seconds=0.02, cuts=0.5).running():
        owners = [{await client.owner(address) for address in run.stage.addresses for _ in range(3)} for client in clients]
        run.require(all(len(each) == 1 for each in owners), f"owners changed by themselves: {owners}")
        await asyncio.sleep(run.scaled(short=2, full=20))
        for replica in run.stage.fleet.replicas[:2]:
            began = time.time()
            await to_thread.run_sync(replica.kill)
            run.broke(f"SIGKILL of replica {replica.number}", began)
            await asyncio.sleep(0.5)
            await run.stage.restart(replica.number)
    report = await run.finish()
    run.figure("owners a session, before the kills", max(len(each) for each in owners))
    run.require(max(report.waited) <= ANSWER_SECONDS, f"calls waited for their answer: {spread(report.waited)}")


CASES = (
    Case(
        "owner-killed",
        "SIGKILL of the owner mid-stream: no silent loss, resume p99 <= 2 s, an answer <= 10 s",
        kill,
        Shape(replicas=4),
        seconds=(120, 1800),
    ),
    Case(
        "partition", "an owner cut off from Redis: never two owners writing; heals <= 10 s", partition, Shape(partitioned=True), (90, 500)
    ),
    Case("clocks", "clocks of two replicas 5 minutes apart: order and leases unaffected", clocks, Shape(skew_seconds=300), (60, 180)),
)
