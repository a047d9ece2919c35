"""Clients that do not read, that read twice, and that all come at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from tests.chaos.client import Client, Cut, Reading
from tests.chaos.history import GET_STREAM, Received, Resumed
from tests.chaos.memory import resident_bytes
from tests.chaos.run import Case, Run

_MEBIBYTE = 2**20
_BACK_SECONDS = 30.0
_AT_ONCE = 50


async def slow(run: Run) -> None:
    """Readers that stall while 4 MiB are sent to each of them; all of them owned by one replica."""
    readers = run.scaled(short=12, full=60)
    async with run.listening(readers, addresses=[run.stage.address(0)]) as clients:
        for client in clients:
            client.small_buffers = True
            await _again(client, Cut(0))  # the same stream through a connection that takes little
        before = resident_bytes(run.stage.fleet[0])
        for client in clients:
            _get(client).interrupt(Cut(run.scaled(short=6, full=20), "leave"))
        for client in clients:
            await client.call("notify", 64, pad=65_000)
        grown = max(0, resident_bytes(run.stage.fleet[0]) - before)
        await asyncio.sleep(1.5)
        grown = max(grown, resident_bytes(run.stage.fleet[0]) - before)
        run.figure("memory grown a stream", f"{grown / readers / 1024:.0f} KiB of 1024")
        run.require(grown / readers <= _MEBIBYTE, f"{readers} stalled streams cost {grown / readers / 1024:.0f} KiB each")
        await asyncio.sleep(run.scaled(short=5, full=20))
        for client in clients:
            await client.call("notify", 3)
    await run.finish(gaps=True)


def _get(client: Client) -> Reading:
    assert client.session.get is not None
    return client.session.get


async def _again(client: Client, cut: Cut) -> None:
    """Cut the GET stream, and wait until it is back."""
    reading = _get(client)
    before = reading.exchange
    reading.interrupt(cut)
    async with asyncio.timeout(_BACK_SECONDS):
        while reading.exchange is before or reading.task is None or reading.task.done():
            await asyncio.sleep(0.01)


async def duplicates(run: Run) -> None:
    """One stream, opened a hundred times in a row and then a hundred times at once."""
    async with run.client("reader") as client:
        first = await client.read_beside("first", None)
        async with asyncio.timeout(_BACK_SECONDS):
            while first.position is None:
                await asyncio.sleep(0.01)
        readings = [first, *[await client.read_beside(f"row-{number}", first.position) for number in range(100)]]
        await _one_is_left(run, client, readings, newest="row-99")
        live = next(reading for reading in reversed(readings) if reading.task is not None)
        burst = await asyncio.gather(*(client.read_beside(f"burst-{number}", live.position) for number in range(100)))
        await _one_is_left(run, client, [*readings, *burst], newest=None)
    await run.finish()


async def _one_is_left(run: Run, client: Client, readings: list[Reading], newest: str | None) -> None:
    """Exactly one reader is left, and what is sent now reaches it alone."""

    def live() -> list[Reading]:
        return [reading for reading in readings if reading.task is not None and not reading.task.done()]

    deadline = time.monotonic() + 10
    while len(live()) != 1 and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    left = [reading.reader for reading in live()]
    run.require(len(left) == 1, f"{len(left)} of {len(readings)} readers are left: {left[:5]}")
    run.require(newest is None or left == [newest], f"the reader that is left is {left[:5]}, and not {newest}")
    ended = await client.call("notify", 10)
    await asyncio.sleep(1)
    values = range(ended.call, ended.call + 10)
    reached = {record.reader for record in run.history.of(Received) if record.stream == GET_STREAM and record.value in values}
    run.require(reached == set(left), f"notices reached {sorted(reached)[:5]}, and {left[:5]} was left")
    run.figure("readers left" if newest else "readers left of a burst", len(left))


async def storm(run: Run) -> None:
    """All streams are cut at one moment and come back within a second; some are sent something meanwhile."""
    count = run.scaled(short=300, full=2000)
    async with AsyncExitStack() as exits:
        clients = [run.client(f"s{number}") for number in range(count)]
        turn = asyncio.Semaphore(_AT_ONCE)

        async def begin(client: Client) -> None:
            async with turn:
                await exits.enter_async_context(client)
                await client.listen()

        began = time.monotonic()
        await asyncio.gather(*(begin(client) for client in clients))
        run.figure("sessions opened a second", f"{count / (time.monotonic() - began):.0f}")
        began, resumed = time.monotonic(), len(run.history.of(Resumed))
        for client in clients:
            _get(client).interrupt(Cut(run.random.uniform(0, 1)))
        await asyncio.gather(*(client.call("notify", 3, patience_seconds=40) for client in clients[::20]))
        while len(run.history.of(Resumed)) - resumed < count and time.monotonic() - began < 2 * _BACK_SECONDS:
            await asyncio.sleep(0.05)
        back = len(run.history.of(Resumed)) - resumed
        seconds = time.monotonic() - began
        run.require(back >= count, f"{back} of {count} streams were back after {seconds:.1f} s")
        run.require(seconds <= _BACK_SECONDS, f"the last of {count} streams was back after {seconds:.1f} s")
        run.figure(f"all {count} streams back", f"{seconds:.1f} s")
        report = await run.finish()
        run.require(report.counts["result"] == report.counts["calls"], "calls ended without their result though nobody was lost")


CASES = (
    Case("duplicates", "100 duplicate reconnects of one stream: exactly one live reader, the newest", duplicates, seconds=(40, 60)),
    Case("slow-consumer", "at most 1 MiB buffered a stream", slow, seconds=(60, 180)),
    Case("storm", "2,000 streams reconnecting at once: all back within 30 s", storm, seconds=(90, 300)),
)
