"""What is judged apart from the attacks, because it takes a whole replica or the whole store: others and their sessions stay."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from functools import partial

import redis
from anyio import to_thread

from tests.chaos.attackers import Attacker
from tests.chaos.load import modern_call
from tests.chaos.run import TENANTS, Case, Run, Shape, spread
from tests.chaos.wire import request

_FULL_SECONDS = 8
"""Longer than a lease (5 s): an owner whose heartbeat needed room would have lapsed."""


async def full_store(run: Run) -> None:
    """The store takes nothing more for longer than a lease: sessions live on, new ones are refused in words, ends are ends."""
    fleet = run.stage.fleet
    async with run.listening(6, tenant=TENANTS[1]) as clients:
        since = [len(replica.lines) for replica in fleet.replicas]
        with run.stage.redis.client() as store:
            written, refused = 0, None
            for _ in range(5):  # buffers of the store's connections give room back, enough for a session now and then
                written += _fill(store, written)
                if (refused := await _open(run)) is not None:
                    break
            ended = await clients[-1].delete()
            answered = 0
            for _ in range(_FULL_SECONDS):
                for client in clients[:-1]:
                    with suppress(Exception):
                        answered += bool(await client.owner())
                await asyncio.sleep(1)
            for key in store.scan_iter("junk:*"):
                store.delete(key)
        again = await _open(run)
        for client in clients[:-1]:
            await client.call("notify", 3)
        run.require(written, "nothing was written: the store was full before")
        run.require(ended == 200, f"a session was ended with {ended} in a full store")
        expected = _FULL_SECONDS * len(clients[:-1])
        run.require(answered == expected, f"{answered} of {expected} calls of sessions that exist were answered")
        run.require(refused == "store_full", f"a session that cannot be kept was answered with {refused}")
        run.require(again is None, f"with room again a session was answered with {again}")
        lapsed = [
            line for replica, first in zip(fleet.replicas, since, strict=True) for line in replica.lines[first:] if "owner.lapsed" in line
        ]
        run.require(not lapsed, f"an owner lapsed: {lapsed[:1]}")
        run.require(not any(client.session.gone.is_set() for client in clients[:-1]), "a session was lost")
        run.figure("junk in the store", written)
        run.figure("calls answered meanwhile", f"{answered} of {expected}")
    await run.finish(gaps=True)  # the client of the session that was ended finds it gone


async def blocked_loop(run: Run) -> None:
    """A tool holds up the loop of one replica: it is named, the others and all sessions go on."""
    fleet, seconds = run.stage.fleet, 3.0
    async with run.listening(6, tenant=TENANTS[1]) as clients:
        since = len(fleet[0].lines)
        other = asyncio.create_task(_times(run, 1, seconds))
        headers, body = Attacker(run.stage.address(0), run.stage.keys[TENANTS[0]], run.random).modern("block", seconds=seconds)
        async with run.fault("a tool blocks the loop"):
            answer = await (await request(run.stage.address(0), "POST", headers, body)).message()
        line = await to_thread.run_sync(partial(fleet[0].logged, lambda line: '"loop.blocked"' in line, since, 1.0))
        times = await other
        for client in clients:
            await client.call("notify", 3)
        named = json.loads(line)
        run.require("result" in answer, f"the call that blocked was answered with {answer}")
        run.require(named.get("tool") == "block" and "tools.py" in str(named.get("where")), f"what blocked is not named: {named}")
        run.require(max(times) < 1.0, f"another replica took {max(times):.2f} s for a call")
        run.require(not any(client.session.gone.is_set() for client in clients), "a session was lost")
        run.figure("named as", named.get("where"))
        run.figure("another replica meanwhile", spread(times))
    await run.finish()


async def _times(run: Run, number: int, seconds: float) -> list[float]:
    """How long modern calls of a replica take for so long."""
    took, until = list[float](), time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        answer = await modern_call(run.stage.address(number), run.stage.keys[TENANTS[1]])
        run.require("result" in answer, f"another replica answered {answer}")
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.02)
    return took


def _fill(store: redis.Redis, before: int) -> int:
    """Write until nothing more goes in, large pieces first; so many were written before."""
    written = before
    for size in (1_000_000, 10_000, 100, 1):
        with suppress(redis.ResponseError):
            while True:
                store.set(f"junk:{written}", "x" * size)
                written += 1
    return written - before


async def _open(run: Run) -> str | None:
    """Why a session cannot be opened; None when it can."""
    headers = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {run.stage.keys[TENANTS[1]]}"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "late", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = await (await request(run.stage.address(0), "POST", headers, message)).message()
    return None if "result" in answer else answer["error"].get("data", {}).get("reason", str(answer["error"]))


CASES = (
    Case(
        "blocked-loop",
        "a tool that blocks the loop for 3 s: named within a second after, other replicas unmoved, no session lost",
        blocked_loop,
        seconds=(60, 60),
    ),
    Case(
        "full-store",
        "a store that takes nothing more for 8 s: no session lost, no owner lapsed, new sessions refused in words",
        full_store,
        Shape(maxmemory="24mb"),
        seconds=(60, 60),
    ),
)
