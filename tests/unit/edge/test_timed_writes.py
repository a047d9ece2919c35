"""A client that stops reading is cut off, whatever was being written to it; spoken to over real sockets."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any, ClassVar

import anyio
import pytest

from moorage.edge.http import BoundedProtocol, bounded_protocol
from moorage.limits.unread import UNREAD
from tests.logged import logged
from tests.unit.edge.speaking import WHOLE_BYTES, Peer, get, served

pytestmark = pytest.mark.anyio


async def test_a_client_that_stops_reading_a_stream_is_cut_off_and_the_app_hears_that_it_left() -> None:
    async with served(bounded_protocol(32768, 100, write_timeout_seconds=0.1)) as it, it.connect() as peer:
        await peer.send(get(target="/flood"))
        with anyio.fail_after(10):
            await it.app.disconnected.wait()


async def test_a_client_that_reads_all_the_time_is_not_cut_off_however_long_the_answer() -> None:
    async with served(bounded_protocol(32768, 100, write_timeout_seconds=0.1)) as it, it.connect() as peer:
        await peer.send(get(target="/flood"))
        received = 0
        with anyio.fail_after(30), suppress(ConnectionError):
            while received < 1000 * 65536:
                part = await peer.reader.read(1 << 20)
                assert part, f"cut off after {received} bytes"
                received += len(part)
        assert received >= 1000 * 65536


class Watched(BoundedProtocol):
    """Tells what becomes of its connections."""

    fates: ClassVar[asyncio.Queue[tuple[str, BoundedProtocol]]]

    def pause_writing(self) -> None:
        super().pause_writing()
        self.fates.put_nowait(("behind", self))

    def resume_writing(self) -> None:
        super().resume_writing()
        self.fates.put_nowait(("read", self))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.fates.put_nowait(("lost", self))


def watched(**limits: float) -> type[Watched]:
    return type("Watched", (Watched,), {"fates": asyncio.Queue[Any](), **limits})


async def fate(kind: type[Watched]) -> tuple[str, BoundedProtocol]:
    with anyio.fail_after(10):
        return await kind.fates.get()


async def test_who_leaves_an_answer_unread_too_long_is_cut_off_and_named_and_nothing_waits_any_more() -> None:
    kind = watched(write_timeout_seconds=0.1)
    with logged() as events:
        async with served(kind) as it, it.connect(small_buffer=True) as peer:
            await peer.send(get(target="/whole"))
            assert (await fate(kind))[0] == "behind"
            assert UNREAD.bytes > WHOLE_BYTES // 2
            assert (await fate(kind))[0] == "lost"
            assert UNREAD.bytes == 0
    assert [event["reason"] for event in events if event["event"] == "http.unread"] == ["write_timeout"]


async def test_past_the_bound_on_unread_bytes_the_one_that_is_behind_longest_is_cut_off_and_others_are_served() -> None:
    kind = watched(write_timeout_seconds=60, max_unread_bytes=WHOLE_BYTES * 5 // 2)
    with logged() as events:
        async with served(kind) as it, AsyncExitStack() as stack:
            peers: list[Peer] = []
            behind: list[BoundedProtocol] = []
            for _ in range(3):
                peers.append(await stack.enter_async_context(it.connect(small_buffer=True)))
                await peers[-1].send(get(target="/whole"))
                state, connection = await fate(kind)
                assert state == "behind"
                behind.append(connection)
            assert await fate(kind) == ("lost", behind[0])
            assert 0 < UNREAD.bytes <= kind.max_unread_bytes
            async with it.connect() as other:
                await other.send(get())
                assert (await other.response())[0] == 200
            assert (await fate(kind))[0] == "lost"  # the other, when it has left
            for peer, connection in zip(peers[1:], behind[1:], strict=True):
                assert len((await peer.response())[2]) == WHOLE_BYTES
                assert await fate(kind) == ("read", connection)
            assert UNREAD.bytes == 0
    assert [event["reason"] for event in events if event["event"] == "http.unread"] == ["unread_limit"]


async def test_an_answer_above_the_bound_reaches_whoever_reads_it_and_gives_way_to_whoever_comes_next() -> None:
    kind = watched(max_unread_bytes=WHOLE_BYTES // 4)
    async with served(kind) as it:
        async with it.connect(small_buffer=True) as reader:
            await reader.send(get(target="/whole"))
            assert (await fate(kind))[0] == "behind"
            assert len((await reader.response())[2]) == WHOLE_BYTES
            assert (await fate(kind))[0] == "read"
        assert (await fate(kind))[0] == "lost"
        async with it.connect(small_buffer=True) as first, it.connect(small_buffer=True) as second:
            await first.send(get(target="/whole"))
            assert (await fate(kind))[0] == "behind"
            await second.send(get(target="/whole"))
            assert [(await fate(kind))[0] for _ in range(2)] == ["behind", "lost"]
            assert len((await second.response())[2]) == WHOLE_BYTES
            assert (await fate(kind))[0] == "read"
            assert UNREAD.bytes == 0


async def test_a_client_that_reads_on_is_not_taken_for_idle_and_is_idle_from_when_it_has_read() -> None:
    kind = watched()
    async with served(kind, keep_alive_seconds=0) as it, it.connect(small_buffer=True) as peer:
        await peer.send(get(target="/whole"))
        assert (await fate(kind))[0] == "behind"
        async with it.connect() as other:  # is idle at once, later than the first would have been
            await other.send(get())
            assert (await other.response())[0] == 200
            assert await other.ended()
        assert (await fate(kind))[0] == "lost"
        assert len((await peer.response())[2]) == WHOLE_BYTES
        assert [(await fate(kind))[0] for _ in range(2)] == ["read", "lost"]
