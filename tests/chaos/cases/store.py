"""Redis ends and comes back, with what it held, with what it held a while ago, or with nothing; or it is silent for a while."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from anyio import to_thread

from tests.chaos.cases.owner import serves
from tests.chaos.load import Load, ModernLoad
from tests.chaos.memory import resident_bytes
from tests.chaos.run import TENANTS, Case, Run, Shape, spread

_BACK_SECONDS = 5.0
_MEBIBYTE = 2**20
_MOST_GROWTH = 64 * _MEBIBYTE


async def restart(run: Run, *, keep_data: bool, stale: bool = False) -> None:
    """Restart it under load."""
    redis = run.stage.redis
    back: list[float] = []
    async with run.listening(6) as clients:
        load = Load(clients)
        async with load.running():
            for _ in range(run.scaled(short=1, full=6)):
                await asyncio.sleep(1)
                if stale:
                    with redis.client() as client:
                        client.save()
                    await asyncio.sleep(1.5)
                async with run.fault("Redis is away"):
                    await to_thread.run_sync(redis.kill)
                    await asyncio.sleep(1)
                    await to_thread.run_sync(partial(redis.restart, keep_data=keep_data))
                    back.append(await serves(run, run.stage.addresses))
                await asyncio.sleep(2)
    await run.finish(gaps=stale or not keep_data)
    run.require(max(back) <= _BACK_SECONDS, f"serving again: {spread(back)}")
    run.require(stale or not keep_data or not load.sessions_lost, f"{load.sessions_lost} sessions were lost")
    run.figure("serving again", spread(back))
    run.figure("sessions begun anew", load.sessions_lost)


async def pause(run: Run) -> None:
    """It does not answer, and keeps its connections open; modern calls go on."""
    redis, fleet = run.stage.redis, run.stage.fleet
    seconds = run.scaled(short=8, full=60)
    modern = ModernLoad(run.stage.addresses, run.stage.keys[TENANTS[0]])
    async with run.listening(6) as clients:
        before = [resident_bytes(replica) for replica in fleet.replicas]
        load = Load(clients, patience_seconds=seconds + 30)
        async with load.running(), modern.running():
            await asyncio.sleep(1)
            async with run.fault("Redis is silent"):
                redis.pause()
                await asyncio.sleep(seconds)
                grown = max(resident_bytes(replica) - was for replica, was in zip(fleet.replicas, before, strict=True))
                redis.resume()
                began = time.monotonic()
                await serves(run, run.stage.addresses)
                back = time.monotonic() - began
            await asyncio.sleep(2)
    await run.finish(gaps=False)
    run.figure("silent for", f"{seconds} s")
    run.figure("serving again", spread([back]))
    run.figure("modern calls meanwhile", f"{modern.passed}, {len(modern.failed)} failed")
    run.figure("memory grown a replica", f"{max(0, grown) / _MEBIBYTE:.1f} MiB")
    run.require(back <= _BACK_SECONDS, f"serving again after {back:.1f} s")
    run.require(not modern.failed, f"modern calls failed: {modern.failed[:3]}")
    run.require(grown <= _MOST_GROWTH, f"a replica grew by {grown / _MEBIBYTE:.0f} MiB")
    run.require(not load.sessions_lost, f"{load.sessions_lost} sessions were lost")


_HOLDS = "explicit gap or full recovery; serving again <= 5 s after it is back"
_KEPT = Shape(appendonly=True)

CASES = (
    Case("redis-restarted", f"Redis restarted with its data: {_HOLDS}", partial(restart, keep_data=True), _KEPT, (60, 200)),
    Case("redis-paused", f"Redis paused: {_HOLDS}", pause, _KEPT, (90, 240)),
    Case("redis-emptied", f"Redis restarted without its data: {_HOLDS}", partial(restart, keep_data=False), Shape(), (60, 200)),
    Case("redis-set-back", f"Redis restarted with older data: {_HOLDS}", partial(restart, keep_data=True, stale=True), Shape(), (60, 200)),
)
