"""One tenant attacks one replica; another tenant of the same replica is measured beside it, without the attack and with it.

Three rounds each: the neighbour alone, then the neighbour beside the attack. What must hold in all of them: no process ends, the neighbour
is refused nothing, memory comes to rest, and the median round keeps the neighbour's times within the targets.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from tests.chaos.attackers import Attacker, at_once
from tests.chaos.memory import resident_bytes
from tests.chaos.odd import bodies, store_entries
from tests.chaos.run import TENANTS, Case, Play, Run, Shape, percentile
from tests.chaos.wire import Exchange
from tests.services.processes import ROOT

Attack = Callable[[Run, Attacker], AbstractAsyncContextManager[None]]

P50_TARGET, P99_TARGET = 1.5, 3.0
SHORT_P50_TARGET, SHORT_P99_TARGET = 3.0, 10.0
"""A short round has so few calls that one pause of the machine moves its percentiles: only a starved neighbour fails there."""

ROUNDS = 3
SLOW = 200
ENDLESS = 24
ENTRIES = 1000
MANY = 900
HANGING = 100
HANG_SECONDS = 3
"""What waits in a session goes on without its client: up to four turns of so long pass before nothing is left."""

FIRST_WAVE_SECONDS = 4
MOST_ENDLESS_BYTES = 16 * 2**20
"""What one connection may be let send after its answer: 64 KiB that are read, 8 MiB that are thrown away so that an ordinary client gets
its answer, and the buffers of both sockets (up to 6 MiB on loopback)."""

MOST_GROWTH = 96 * 2**20
"""Of resident memory during an attack: the budget of bodies (64 MiB) and some."""

MOST_LEFT = 24 * 2**20
"""Of resident memory from the end of the first round to the end of the last."""

SHAPE = Shape(
    replicas=1,
    settings=(
        ("HTTP__MAX_IN_FLIGHT", "400"),
        ("SESSIONS__MAX_STREAMS", "200"),
        ("SESSIONS__MAX_SESSIONS_PER_PRINCIPAL", "2000"),
        ("HTTP__BODY_TIMEOUT_SECONDS", "5"),
        ("HTTP__WRITE_TIMEOUT_SECONDS", "2"),
        ("CALLS__DEADLINE_SECONDS", "60"),
        ("CALLS__THREADS", "16"),
        ("CALLS__THREAD_QUEUE", "40"),
    ),
)


async def measured(run: Run, attack: Attack) -> None:
    """Play an attack, and measure the neighbour."""
    replica, attacker = run.stage.fleet[0], Attacker.of(run)
    seconds = run.scaled(short=2, full=8)
    workers = replica.workers()
    await _neighbour(run, 1)  # imports, first allocations
    before, left, peak = resident_bytes(replica), list[int](), 0
    ratios = list[tuple[float, float]]()
    for _ in range(ROUNDS):
        alone = await _neighbour(run, seconds)
        async with attack(run, attacker):
            beside = await _neighbour(run, seconds)
            peak = max(peak, resident_bytes(replica))
        left.append(resident_bytes(replica))
        ratios.append((percentile(beside, 50) / percentile(alone, 50), percentile(beside, 99) / percentile(alone, 99)))
        run.figure("neighbour alone", _times(alone))
        run.figure("neighbour beside", _times(beside))
    p50, p99 = (statistics.median(ratio) for ratio in zip(*ratios, strict=True))
    run.figure("p50 and p99, beside to alone (median of three)", f"{p50:.2f}x and {p99:.2f}x")
    run.figure("memory before, at most, after", " ".join(f"{size / 2**20:.0f}" for size in (before, peak, left[-1])) + " MiB")
    most50, most99 = (SHORT_P50_TARGET, SHORT_P99_TARGET) if run.short else (P50_TARGET, P99_TARGET)
    run.require(p50 <= most50 and p99 <= most99, f"the neighbour takes {p50:.2f}x and {p99:.2f}x, at most {most50}x and {most99}x")
    run.require(replica.workers() == workers, f"processes ended: {workers} became {replica.workers()}")
    run.require(peak - before <= MOST_GROWTH, f"memory grew by {(peak - before) / 2**20:.0f} MiB")
    run.require(left[-1] - left[0] <= MOST_LEFT, f"memory goes on growing: {[size // 2**20 for size in left]} MiB after the rounds")
    run.require(not attacker.odd, f"{len(attacker.odd)} answers that no client can use: {attacker.odd[:3]}")
    run.require(replica.is_ready(), "the replica is not ready")
    run.require("background.failed" not in replica.log and "Traceback" not in replica.log, "something failed inside: see the log")


async def _neighbour(run: Run, seconds: float) -> list[float]:
    """How long the calls of the other tenant take; all of them are answered."""
    address = run.stage.address(0)
    command = [sys.executable, "-m", "tests.chaos.neighbour", address.host, str(address.port), run.stage.keys[TENANTS[1]], str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(seconds + 60):
        output, _ = await process.communicate()
    seen = json.loads(output)
    run.require(not seen["refused"], f"the neighbour was refused {len(seen['refused'])} times: {seen['refused'][:2]}")
    return seen["seconds"] or [float("inf")]


def _times(seconds: list[float]) -> str:
    return f"n={len(seconds)} p50={1000 * percentile(seconds, 50):.1f} ms p99={1000 * percentile(seconds, 99):.1f} ms"


@asynccontextmanager
async def slow_readers(run: Run, attacker: Attacker) -> AsyncGenerator[None, None]:
    """Streamed calls and large results of both eras whose clients read nothing: after the write time-out nothing is held for them."""
    session = await attacker.session()
    held: list[Exchange] = []

    async def begin(number: int) -> None:
        await asyncio.sleep(run.random.uniform(0, 2))
        pieces, size = (16, 60_000) if number % 4 else (0, 500_000)
        headers, body = attacker.modern("flood", pieces=pieces, size=size)
        if number % 2:
            headers, body = session, {**attacker.legacy("flood", pieces=pieces, size=size), "id": f"{id(run)}-{run.random.random()}"}
        held.append(await attacker.unread(headers, body))

    async with at_once(SLOW, begin):
        yield
        await run.freed()
    for exchange in held:
        exchange.cut()
    run.figure("clients that did not read", len(held))
    run.require(held, "nobody had an answer that it did not read")


@asynccontextmanager
async def slow_writers(run: Run, attacker: Attacker) -> AsyncGenerator[None, None]:
    """Bodies of every size that come a byte at a time."""
    sizes = (1000, 60_000, 500_000, 4_000_000)
    async with at_once(SLOW, lambda number: attacker.slow_upload(sizes[number % len(sizes)])):
        yield
    run.figure("uploads given up by the server", attacker.closed)
    run.require(attacker.begun >= SLOW, f"only {attacker.begun} uploads have begun")


@asynccontextmanager
async def hanging_tools(run: Run, attacker: Attacker) -> AsyncGenerator[None, None]:
    """Plain functions that hold their threads, whose clients leave meanwhile, and more of them than there are threads."""
    session = await attacker.session()
    headers, body = attacker.modern("hang", seconds=HANG_SECONDS)

    async def go(number: int) -> None:
        if number % 2:
            await attacker.held("POST", headers, body)
        else:
            await attacker.held("POST", session, {**attacker.legacy("hang", seconds=HANG_SECONDS), "id": f"{number}"})

    async with at_once(HANGING, go):
        await asyncio.sleep(FIRST_WAVE_SECONDS)
        yield
    run.figure("hanging calls refused", attacker.refused)
    run.require(attacker.refused, "nothing was refused: the threads were not all taken")
    await run.freed()


@asynccontextmanager
async def endless_bodies(run: Run, attacker: Attacker) -> AsyncGenerator[None, None]:
    """Bodies without an end after an answer: without a key, for another host, to other paths, beside a preflight."""
    key = f"Authorization: Bearer {attacker.key}"
    requests = (
        ("POST", "/mcp"),
        ("POST", "/mcp", key, "Mcp-Session-Id: none"),
        ("POST", "/nowhere"),
        ("POST", "/mcp", "Origin: https://evil.example"),
        ("OPTIONS", "/mcp", "Origin: http://localhost", "Access-Control-Request-Method: POST"),
        ("GET", "/"),
        ("DELETE", "/mcp", key),
        ("GET", "/mcp", key, "Accept: text/event-stream"),
    )
    async with at_once(ENDLESS, lambda number: attacker.endless(*requests[number % len(requests)])):
        yield
    run.figure("bodies cut by the server", attacker.closed)
    run.figure("most bytes of one body", attacker.most_bytes)
    run.require(attacker.begun >= ENDLESS, f"only {attacker.begun} bodies have begun")
    run.require(attacker.most_bytes <= MOST_ENDLESS_BYTES, f"a body of {attacker.most_bytes} bytes was taken after its answer")


@asynccontextmanager
async def odd_entries(run: Run, attacker: Attacker) -> AsyncGenerator[None, None]:
    """Entries of the store that no replica wrote, in every key that is read: those of the attacker's sessions, and the bus."""
    with run.stage.redis.client() as client:
        known = set(client.scan_iter("*"))
        await asyncio.gather(*(attacker.session() for _ in range(20)))
        theirs = sorted(set(client.scan_iter("*")) - known)
        write = store_entries(run.random, client, theirs)
        written = 0

        async def go(_: int) -> None:
            nonlocal written
            while True:
                for _ in range(10):
                    write()
                    written += 1
                await asyncio.sleep(0.02)

        async with at_once(1, go):
            yield
        while written < ENTRIES:
            write()
            written += 1
        for key in theirs:
            client.delete(key)
    run.figure("odd entries", written)


@asynccontextmanager
async def odd_bodies(run: Run, attacker: Attacker) -> AsyncGenerator[None, None]:
    """Deep and odd JSON in every field that is echoed or kept, in both eras."""
    session = await attacker.session()
    sent = 0

    async def go(worker: int) -> None:
        nonlocal sent
        for headers, body in bodies(run.random, attacker, session, worker):
            await attacker.odd_body(headers, body)
            sent += 1
            await asyncio.sleep(0.01)

    async with at_once(4, go):
        yield
    run.figure("odd bodies", sent)
    run.require(sent, "no odd body was sent")


@asynccontextmanager
async def every_bound(run: Run, attacker: Attacker) -> AsyncGenerator[None, None]:
    """Calls, streams, questions, sessions and bodies of one tenant, each as many as it is let have, and more asked for all the time."""
    session = await attacker.session()
    headers, body = attacker.modern("wait", seconds=60)
    listens = {**attacker.headers, **session}
    kinds = (
        lambda: attacker.held("POST", headers, body),
        lambda: attacker.held("POST", session, {**attacker.legacy("ask", call=1), "id": run.random.randrange(10**9)}),
        lambda: attacker.held("GET", {**listens, "accept": "text/event-stream"}, None),
        attacker.open_session,
        lambda: attacker.slow_upload(1_000_000),
    )
    async with at_once(MANY, lambda number: kinds[number % len(kinds)]()):
        await asyncio.sleep(FIRST_WAVE_SECONDS)  # what is measured is a tenant that stays at its bounds, not the rush to them
        yield
    run.figure("refused to the attacker", attacker.refused)
    run.require(attacker.refused, "the attacker was never refused: it was at no bound")


def _case(name: str, holds: str, attack: Attack, shape: Shape = SHAPE) -> Case:
    play: Play = partial(measured, attack=attack)
    return Case(name, holds, play, shape, seconds=(120, 240))


CASES = (
    _case("slow-readers", f"{SLOW} clients that do not read what they asked for hold nothing for long", slow_readers),
    _case("hanging-tools", f"{HANGING} plain functions that hang leave threads to another tenant", hanging_tools),
    _case("slow-writers", f"{SLOW} uploads that come a byte at a time starve nobody", slow_writers),
    _case("endless-bodies", f"{ENDLESS} bodies without an end, each after its answer, starve nobody", endless_bodies),
    _case("odd-entries", f"{ENTRIES} odd entries in the store end no process", odd_entries),
    _case("every-bound", "a tenant at every one of its bounds at once takes nothing from another one", every_bound),
    _case("odd-bodies", "deep and odd JSON in every field that is echoed or kept is answered, and starves nobody", odd_bodies),
)
