"""What a stranger gets at the relay door."""

import asyncio

import pytest

from tests.integration.shared.conftest import Start

pytestmark = pytest.mark.anyio


async def _speak(address: str, head: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode())
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("hop", ["", "x-moorage-hop: QUJD\r\n"])
async def test_a_stranger_is_refused_before_its_body_is_waited_for(start: Start, hop: str):
    replica = await start()
    session = await replica.begin()
    head = f"POST /mcp HTTP/1.1\r\nhost: a\r\nmcp-session-id: {session}\r\n{hop}content-length: 1000000\r\n\r\n"

    answer = await _speak(replica.service.replication.address, head)  # type: ignore[union-attr]

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Not from a replica with these keys" in answer
