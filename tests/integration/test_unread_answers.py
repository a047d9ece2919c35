"""Clients that do not read what they asked for: what waits for them is bounded, their places come free, and others are served."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import Legacy, Process, answer, client, modern, request, serving

pytestmark = pytest.mark.anyio

TOOLS: Final = Path(__file__).with_name("flooding_tools.py")
MEBIBYTE: Final = 1 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def flooding(folder: Path, **settings: str) -> AsyncGenerator[tuple[Process, httpx.AsyncClient], None]:
    """A server, and a client that reads."""
    async with serving("moorage", target=TOOLS, plain_FLOODING=str(folder), **settings) as server, client() as http:
        yield server, http


def unread(server: Process, body: Mapping[str, Any], headers: Mapping[str, str]) -> socket.socket:
    """Ask for something and never read; the kernel takes little for it."""
    url = urlsplit(server.url)
    content = json.dumps(body).encode()
    fields = {"host": url.netloc, "content-type": "application/json", "content-length": str(len(content)), **headers}
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((url.hostname, url.port))
    connection.sendall(b"POST /mcp HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items()).encode() + b"\r\n" + content)
    return connection


async def waiting(http: httpx.AsyncClient, server: Process) -> float:
    """Bytes that the process says it holds for clients that do not read."""
    text = (await http.get(f"{server.admin}/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith("moorage_http_unread_bytes ")]
    return float(line.rpartition(" ")[2])


def cuts(server: Process) -> list[str]:
    return [event["reason"] for event in server.events() if event["event"] == "http.unread"]


@asynccontextmanager
async def closing(connections: list[socket.socket]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


async def was_cut(server: Process, times: int, reason: str) -> None:
    """Wait until so many connections were cut for this reason."""
    with anyio.fail_after(20):
        async with server.grown:
            await server.grown.wait_for(lambda: cuts(server).count(reason) >= times)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_answers_that_nobody_reads_hold_no_more_than_the_bound_and_one_answer(tmp_path: Path, era: str) -> None:
    clients, bound, each = 12, 32, 12
    async with flooding(tmp_path, HTTP__MAX_UNREAD_BYTES=str(bound * MEBIBYTE)) as (server, http):
        call = {"name": "big", "arguments": {"mebibytes": each}}
        session = await Legacy.begin(http, server.url)
        body, headers = modern("tools/call", call) if era == "modern" else (request("tools/call", call), session.headers)
        connections: list[socket.socket] = []
        async with closing(connections):
            for number in range(clients):
                connections.append(unread(server, body, headers))
                assert await waiting(http, server) <= (bound + each + 1) * MEBIBYTE, number
            await was_cut(server, clients - bound // (each - 5) - 1, "unread_limit")
            assert 0 < await waiting(http, server) <= (bound + each + 1) * MEBIBYTE
            again, fields = modern("tools/call", {"name": "quick"})
            assert answer(await http.post(f"{server.url}/mcp", json=again, headers=fields))["result"]["content"][0]["text"] == "done"
            again, fields = modern("tools/call", call)
            big = answer(await http.post(f"{server.url}/mcp", json=again, headers=fields))
            assert len(big["result"]["content"][0]["text"]) == each * MEBIBYTE
        with anyio.fail_after(10):
            while await waiting(http, server):
                await asyncio.sleep(0.02)
        assert set(cuts(server)) == {"unread_limit"}
