"""A client that stops reading is cut off, whatever was being written to it; spoken to over real sockets."""

from contextlib import suppress

import anyio
import pytest

from moorage.edge.http import bounded_protocol
from tests.unit.edge.speaking import get, served

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
