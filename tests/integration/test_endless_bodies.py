"""A body that never ends is given up soon after its answer, at every port and on every path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Final
from urllib.parse import urlsplit

import anyio
import pytest

from tests.integration.serving import Process, serving
from tests.services import Redis, sealing_key

pytestmark = pytest.mark.anyio

CHUNK: Final = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
MOST_BYTES: Final = 32 << 20
"""That a client can have sent: what is read after the answer, what is thrown away, and what the kernel takes at both ends."""


@pytest.fixture(scope="module")
async def served() -> AsyncGenerator[tuple[Process, dict[str, str]], None]:
    """A server with a store, and the address of each of its ports."""
    with Redis() as redis:
        async with serving("moorage", STORE__URL=redis.url, SECURITY__SEALING_KEYS=sealing_key(), RELAY__PORT="0") as server:
            door = json.loads(await server.logged(lambda line: "relay.listening" in line))["address"]
            yield server, {"public": urlsplit(server.url).netloc, "admin": urlsplit(server.admin).netloc, "relay": door}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    ("port", "path"),
    [("public", "/mcp"), ("public", "/nowhere"), ("relay", "/mcp"), ("relay", "/nowhere"), ("admin", "/livez"), ("admin", "/metrics")],
)
async def test_an_endless_body_ends_at_every_port(served: tuple[Process, dict[str, str]], port: str, path: str, method: str) -> None:
    _, addresses = served
    host, _, number = addresses[port].rpartition(":")
    _reader, writer = await asyncio.open_connection(host, int(number))
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    sent = 0
    try:
        with anyio.fail_after(20):
            while True:
                writer.write(CHUNK)
                await writer.drain()
                sent += len(CHUNK)
                assert sent <= MOST_BYTES
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    assert sent
