"""Every replica ends and begins again, one after the other, as in a rolling update."""

from __future__ import annotations

import asyncio

from anyio import to_thread

from tests.chaos.load import Load, ModernLoad
from tests.chaos.run import TENANTS, Case, Run

_DRAIN_SECONDS = 30.0


async def rolling(run: Run) -> None:
    """Behind the round robin, under calls of both eras, GET streams and notices."""
    stage = run.stage
    rounds = run.scaled(short=1, full=5)
    modern = ModernLoad(stage.round_robin * 2, stage.keys[TENANTS[0]])
    async with run.listening(6, addresses=stage.round_robin) as clients:
        legacy = Load(clients, pause_seconds=0.05)
        async with legacy.running(), modern.running():
            for _ in range(rounds):
                for replica in stage.fleet.replicas:
                    await asyncio.sleep(0.5)
                    replica.terminate()
                    await to_thread.run_sync(replica.exited, _DRAIN_SECONDS)
                    await to_thread.run_sync(replica.start)
            await asyncio.sleep(0.5)
    report = await run.finish()
    run.figure("restarts", rounds * len(stage.fleet))
    run.figure("modern calls", modern.passed)
    run.require(not modern.failed, f"{len(modern.failed)} of {modern.passed} modern calls failed: {modern.failed[:3]}")
    run.require(not legacy.sessions_lost, f"{legacy.sessions_lost} sessions were lost")
    others = {name: count for name, count in report.counts.items() if name.startswith(("error", "refused", "cut")) and name != "cuts"}
    run.require(not others, f"calls ended without their result: {others}")


CASES = (Case("rolling-restart", "graceful restarts one after another under load: nothing lost", rolling, seconds=(90, 400)),)
