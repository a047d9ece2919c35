"""Clients that do not read what they asked for: what waits for them is bounded, their places come free, and others are served."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import META, Legacy, Process, answer, appears, client, modern, request, serving
from tests.services import Redis, sealing_key

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


async def holds_nothing(http: httpx.AsyncClient, server: Process) -> None:
    """Wait until nothing waits for anybody; another process has no event to wait on."""
    with anyio.fail_after(10):
        while await waiting(http, server):
            await asyncio.sleep(0.02)


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
            assert answer(await quick(http, server))["result"]["content"][0]["text"] == "done"
            again, fields = modern("tools/call", call)
            big = answer(await http.post(f"{server.url}/mcp", json=again, headers=fields))
            assert len(big["result"]["content"][0]["text"]) == each * MEBIBYTE
        await holds_nothing(http, server)
        assert set(cuts(server)) == {"unread_limit"}


STREAMS: Final = 20


def flood(name: str, events: int) -> dict[str, Any]:
    """Parameters of a call that streams."""
    return {"name": "flood", "arguments": {"name": name, "events": events}, "_meta": {"progressToken": name}}


async def all_appear(folder: Path, kind: str) -> None:
    for number in range(STREAMS):
        await appears(folder / f"{number}.{kind}")


async def quick(http: httpx.AsyncClient, server: Process) -> httpx.Response:
    body, headers = modern("tools/call", {"name": "quick"})
    return await http.post(f"{server.url}/mcp", json=body, headers=headers)


async def test_twenty_clients_that_stop_reading_a_modern_stream_are_cut_off_and_their_places_are_free(tmp_path: Path) -> None:
    settings = {"HTTP__MAX_IN_FLIGHT": str(STREAMS), "HTTP__WRITE_TIMEOUT_SECONDS": "3"}
    connections: list[socket.socket] = []
    async with flooding(tmp_path, **settings) as (server, http), closing(connections):
        for number in range(STREAMS):
            given = flood(str(number), 10_000)
            body, headers = modern("tools/call", {**given, "_meta": {**META, **given["_meta"]}}, number)
            connections.append(unread(server, body, headers))
        await all_appear(tmp_path, "begun")
        refused = await quick(http, server)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        await was_cut(server, STREAMS, "write_timeout")
        await all_appear(tmp_path, "ended")
        assert answer(await quick(http, server))["result"]["content"][0]["text"] == "done"
        await holds_nothing(http, server)
        calls = [event for event in server.events() if event.get("tool") == "flood"]
        assert [event["outcome"] for event in calls] == ["cancelled"] * STREAMS


async def first_event_id(connection: socket.socket) -> str:
    """Read up to the first event's id, and no further."""
    connection.setblocking(False)
    received = b""
    with anyio.fail_after(10):
        while (found := re.search(rb"\nid: (\S+)\r\n", received)) is None:
            part = await asyncio.get_running_loop().sock_recv(connection, 256)
            assert part, received
            received += part
    return found[1].decode()


@pytest.mark.parametrize("store", [False, True], ids=["alone", "with a store"])
async def test_of_twenty_clients_that_stop_reading_in_sessions_the_calls_go_on_and_can_be_resumed(tmp_path: Path, store: bool) -> None:
    settings = {
        "HTTP__MAX_IN_FLIGHT": str(STREAMS),
        "HTTP__WRITE_TIMEOUT_SECONDS": "1",
        "SESSIONS__LOG_BYTES": str(16 * MEBIBYTE),
        "SESSIONS__MAX_BYTES_PER_PRINCIPAL": str(1024 * MEBIBYTE),
    }
    connections: list[socket.socket] = []
    async with AsyncExitStack() as stack:
        if store:
            redis = stack.enter_context(Redis())
            settings |= {"STORE__URL": redis.url, "SECURITY__SEALING_KEYS": sealing_key(), "RELAY__PORT": "0"}
        server, http = await stack.enter_async_context(flooding(tmp_path, **settings))
        await stack.enter_async_context(closing(connections))
        other = await Legacy.begin(http, server.url)
        sessions = [await Legacy.begin(http, server.url) for _ in range(STREAMS)]
        for number, session in enumerate(sessions):
            connections.append(unread(server, request("tools/call", flood(str(number), 150), 7), session.headers))
        positions = [await first_event_id(connection) for connection in connections] if store else []
        await all_appear(tmp_path, "begun")
        await was_cut(server, STREAMS, "write_timeout")
        await holds_nothing(http, server)
        assert not [*tmp_path.glob("*.ended")]
        refused = await other.post(request("tools/call", {"name": "quick"}, 8))
        assert (refused.status_code, answer(refused)["error"]["code"]) == (200, -32012)
        assert (await quick(http, server)).status_code == 503
        for number in range(STREAMS):
            (tmp_path / f"{number}.go").touch()
        await all_appear(tmp_path, "ended")
        assert answer(await other.post(request("tools/call", {"name": "quick"}, 9)))["result"]["content"][0]["text"] == "done"
        for session, position, number in [*zip(sessions, positions, range(STREAMS), strict=False)][:: STREAMS - 1]:
            async with session.listen(**{"last-event-id": position}) as stream:
                assert stream.status_code == 200
                with anyio.fail_after(10):
                    result = await anext(line async for line in stream.aiter_lines() if '"result"' in line)
            assert f"{number} is done" in result
