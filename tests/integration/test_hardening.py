"""What the bare SDK and uvicorn get wrong as seen from outside: no request hangs, none is lost, none tells too much."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import (
    ACCEPT,
    LEGACY,
    Legacy,
    Process,
    answer,
    appears,
    client,
    initialize,
    messages,
    modern,
    request,
    serving,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client(timeout=5) as it:
        yield it


@pytest.fixture
async def session(http: httpx.AsyncClient, server: Process) -> Legacy:
    return await Legacy.begin(http, server.url)


@dataclass
class Raw:
    """A connection on which bytes are written."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def status(self) -> int:
        with anyio.fail_after(5):
            return int((await self.reader.readline()).split(b" ")[1])

    async def rest(self) -> bytes:
        with anyio.fail_after(5):
            return await self.reader.read()


@asynccontextmanager
async def raw(server: Process, url: str | None = None) -> AsyncIterator[Raw]:
    host, port = (url or server.url).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


def post(body: bytes, *fields: str) -> bytes:
    """The bytes of a POST to the endpoint; `fields` come beside what every client sends."""
    head = ["POST /mcp HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", f"accept: {ACCEPT}", *fields]
    return "\r\n".join([*head, f"content-length: {len(body)}", "connection: close", "", ""]).encode() + body


def refusal(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    """The error of a response that refuses in our words."""
    assert response.status_code == status, response.text
    document = response.json()
    assert document["jsonrpc"] == "2.0"
    assert "mcp-session-id" not in response.headers or "mcp-session-id" in response.request.headers  # none is made for a refusal
    for internal in ("pydantic", "Traceback", "validation error", "input_value", "site-packages"):
        assert internal not in response.text
    return document


# Resuming without an event store


async def test_resuming_a_stream_is_refused_in_words_because_nothing_was_kept(session: Legacy) -> None:
    async with session.listen(**{"last-event-id": "some-event"}) as stream:
        await stream.aread()
        assert "Last-Event-ID" in refusal(stream)["error"]["message"]


# Upgrades


async def test_a_call_that_also_asks_for_a_websocket_is_answered(http: httpx.AsyncClient, server: Process) -> None:
    body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
    fields = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "x"}
    response = await http.post(f"{server.url}/mcp", json=body, headers=headers | fields)
    assert answer(response)["result"]["structuredContent"] == {"result": 3}


async def test_a_websocket_client_is_answered_as_http(server: Process) -> None:
    async with raw(server) as peer:
        upgrade = "GET /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n"
        peer.writer.write(upgrade.encode())
        assert 400 <= await peer.status() < 500


# Ids


async def test_an_id_that_is_in_flight_is_not_taken_twice(session: Legacy, tmp_path: Path) -> None:
    release = tmp_path / "go-on"
    slow = request("tools/call", {"name": "wait_for", "arguments": {"path": str(release)}}, "twin")
    first = asyncio.create_task(session.post(slow))
    await appears(tmp_path / "go-on.begun")
    second = refusal(await session.post(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, "twin")))
    assert second["error"]["code"] == -32600
    assert "twin" in second["error"]["message"]
    release.touch()
    assert answer(await first)["result"]["content"][0]["text"] == "it appeared"


async def test_an_id_can_be_used_again_when_its_call_was_cut_and_has_ended(session: Legacy, tmp_path: Path) -> None:
    release = tmp_path / "go-on"
    slow = request("tools/call", {"name": "wait_for", "arguments": {"path": str(release)}}, "again")
    call = asyncio.create_task(session.post(slow))
    await appears(tmp_path / "go-on.begun")
    call.cancel()
    release.touch()
    with anyio.fail_after(5):
        while True:  # refused for as long as the first lives, then answered; never an empty 200
            response = await session.post(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, "again"))
            if response.status_code == 200:
                break
            assert refusal(response)["error"]["code"] == -32600
    assert (answer(response)["id"], answer(response)["result"]["structuredContent"]) == ("again", {"result": 3})


async def test_two_sessions_may_use_one_id_at_a_time(http: httpx.AsyncClient, server: Process, tmp_path: Path) -> None:
    one, other = await Legacy.begin(http, server.url), await Legacy.begin(http, server.url)
    release = tmp_path / "go-on"
    slow = asyncio.create_task(one.post(request("tools/call", {"name": "wait_for", "arguments": {"path": str(release)}}, 5)))
    await appears(tmp_path / "go-on.begun")
    quick = await other.post(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, 5))
    release.touch()
    assert answer(quick)["result"]["structuredContent"] == {"result": 3}
    assert answer(await slow)["result"]["content"][0]["text"] == "it appeared"


IDS = ["false", "true", "null", "1.5", "Infinity", "NaN", "[]", "{}"]


@pytest.mark.parametrize("written", IDS)
async def test_an_id_that_is_none_is_refused_in_the_session_era(session: Legacy, written: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":{written},"method":"tools/list","params":{{}}}}'
    response = await session.client.post(session.url, content=body, headers={**session.headers, "content-type": "application/json"})
    document = refusal(response)
    assert (document["id"], document["error"]["code"]) == (None, -32600)


@pytest.mark.parametrize("written", IDS)
async def test_an_id_that_is_none_is_refused_in_the_modern_era(http: httpx.AsyncClient, server: Process, written: str) -> None:
    body, headers = modern("tools/list")
    text = json.dumps(body | {"id": "?"}).replace('"?"', written)
    document = refusal(await http.post(f"{server.url}/mcp", content=text, headers=headers | {"content-type": "application/json"}))
    assert (document["id"], document["error"]["code"]) == (None, -32600)


@pytest.mark.parametrize("era", ["session", "modern"])
async def test_a_long_id_is_echoed_up_to_256_characters_and_refused_beyond(server: Process, session: Legacy, era: str) -> None:
    async def ask(request_id: str) -> httpx.Response:
        if era == "session":
            return await session.post(request("tools/list", {}, request_id))
        body, headers = modern("tools/list", {}, request_id)
        return await session.client.post(f"{server.url}/mcp", json=body, headers=headers)

    assert answer(await ask("i" * 256))["id"] == "i" * 256
    document = refusal(await ask("i" * 257))
    assert (document["id"], document["error"]["code"]) == (None, -32600)


# Prompts


PROMPTS = {"unknown": {"name": "nobody-knows"}, "no argument": {"name": "greet", "arguments": {}}, "none at all": {"name": "greet"}}


@pytest.mark.parametrize("params", PROMPTS.values(), ids=PROMPTS.keys())
async def test_a_prompt_that_cannot_be_got_is_invalid_params_in_both_eras(server: Process, session: Legacy, params: dict[str, Any]) -> None:
    body, headers = modern("prompts/get", params)
    responses = [
        await session.post(request("prompts/get", params)),
        await session.client.post(f"{server.url}/mcp", json=body, headers=headers),
    ]
    for response in responses:
        error = answer(response)["error"]
        assert error["code"] == -32602
        assert "Traceback" not in error["message"]


# Error bodies


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"jsonrpc":"2.0","id":1', id="cut JSON"),
        pytest.param("not json", id="no JSON"),
        pytest.param("[]", id="empty batch"),
        pytest.param('"text"', id="a string"),
        pytest.param('{"jsonrpc":"1.0","id":1,"method":"tools/list"}', id="another version"),
        pytest.param('{"jsonrpc":"2.0","id":1}', id="neither request nor response"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":7}', id="method is a number"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"tools/list","params":"x"}', id="params is a string"),
    ],
)
@pytest.mark.parametrize("era", ["opening", "session", "modern"])
async def test_what_is_not_a_request_is_refused_in_our_words(server: Process, session: Legacy, era: str, body: str) -> None:
    eras = {"opening": {"accept": ACCEPT}, "session": session.headers, "modern": modern("tools/list")[1]}
    response = await session.client.post(f"{server.url}/mcp", content=body, headers=eras[era] | {"content-type": "application/json"})
    document = refusal(response)
    assert document["error"]["code"] in (-32700, -32600, -32602, -32020)
    assert "secret" not in document["error"]["message"]


async def test_an_error_names_the_request_it_answers(session: Legacy, server: Process) -> None:
    known = [
        await session.post(request("no/such/method", {}, "mine")),
        await session.post(request("tools/call", {"name": 7}, "mine")),
        await session.client.post(f"{server.url}/mcp", json=request("tools/list", {}, "mine"), headers={"accept": ACCEPT}),
        await session.client.post(
            session.url, json=request("tools/list", {}, "mine"), headers={**session.headers, "mcp-session-id": "0" * 32}
        ),
    ]
    for response in known:
        assert answer(response)["error"]
        assert answer(response)["id"] == "mine"


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}, id="no parameters"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 7}}, id="a number for a version"),
    ],
)
async def test_a_refused_opening_gets_no_session_id(http: httpx.AsyncClient, server: Process, opening: dict[str, Any]) -> None:
    response = await http.post(f"{server.url}/mcp", json=opening, headers={"accept": ACCEPT})
    assert "mcp-session-id" not in response.headers
    assert (answer(response)["id"], answer(response)["error"]["code"]) == (1, -32602)


async def test_what_was_sent_is_not_sent_back(session: Legacy) -> None:
    response = await session.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": {"secret": "s3cr3t"}}})
    assert "s3cr3t" not in response.text


# Heads


@pytest.mark.parametrize("fields", [["x-a: " + "a" * 40_000], [f"x-{n}: a" for n in range(200)]], ids=["too many bytes", "too many fields"])
async def test_a_head_beyond_the_settings_is_answered_431(server: Process, fields: list[str]) -> None:
    async with raw(server) as peer:
        peer.writer.write(post(b"{}", *fields))
        assert await peer.status() == 431


async def test_whitespace_around_a_header_value_changes_nothing(server: Process) -> None:
    body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
    fields = [f"{name}: \t {value} \t" for name, value in headers.items() if name != "accept"]
    async with raw(server) as peer:
        peer.writer.write(post(json.dumps(body).encode(), *fields))
        assert b'{"result":3}' in await peer.rest()


# Bodies behind an answer

ENDLESS = [
    ("POST /mcp", "mcp-session-id: none", 401),
    ("GET /mcp", "accept: text/event-stream", 401),
    ("DELETE /mcp", "accept: */*", 401),
    ("POST /mcp", "host: elsewhere.example", 421),
    ("POST /mcp", "origin: https://elsewhere.example", 403),
    ("OPTIONS /mcp", "origin: http://localhost\r\naccess-control-request-method: POST", 204),
    ("POST /mcp", "expect: 100-continue", 401),
    ("GET /", "accept: */*", 200),
    ("POST /", "accept: */*", 405),
    ("PUT /nowhere", "accept: */*", 404),
]


@pytest.fixture(scope="module")
async def locked() -> AsyncIterator[Process]:
    """A server that serves whoever has a key, and nobody here has one."""
    async with serving(SECURITY__API_KEYS="ann:" + "0" * 64) as it:
        yield it


@pytest.mark.parametrize(("request_line", "field", "status"), ENDLESS, ids=[f"{line} {status}" for line, _, status in ENDLESS])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_body_without_end_is_cut_off_behind_its_answer(
    locked: Process, request_line: str, field: str, status: int, version: str
) -> None:
    host = [] if field.startswith("host:") else ["host: 127.0.0.1"]
    async with raw(locked) as peer:
        peer.writer.write("\r\n".join([f"{request_line} HTTP/{version}", *host, field, f"content-length: {1 << 40}", "", ""]).encode())
        assert await peer.status() == status
        sent, patience = 0, 64 * 1024 * 1024  # the buffers of both sockets take a part of it
        with suppress(ConnectionError), anyio.fail_after(20):
            while sent < patience:
                peer.writer.write(b"a" * 60_000)
                await peer.writer.drain()
                sent += 60_000
    assert sent < patience


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/nowhere"])
async def test_the_admin_port_has_the_public_ports_bounds(locked: Process, path: str) -> None:
    many, large = [f"x-{n}: a" for n in range(200)], ["x-a: " + "a" * 40_000]
    for line, fields, status in (
        (f"GET {path}", many, 431),
        (f"GET {path}", large, 431),
        (f"GET {path}?{'a' * 9000}", [], 414),
        (f"GET {path}", ["host: rebound.example"], 421),
    ):
        async with raw(locked, locked.admin) as peer:
            peer.writer.write("\r\n".join([f"{line} HTTP/1.1", *(fields or ["host: localhost"]), "", ""]).encode())
            assert await peer.status() == status
    async with raw(locked, locked.admin) as peer:
        peer.writer.write(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {1 << 40}\r\n\r\n".encode())
        assert await peer.status() in (404, 405)
        sent, patience = 0, 64 * 1024 * 1024
        with suppress(ConnectionError), anyio.fail_after(20):
            while sent < patience:
                peer.writer.write(b"a" * 60_000)
                await peer.writer.drain()
                sent += 60_000
        assert sent < patience


# Clients that leave


async def alarms(server: Process, since: int) -> list[dict[str, Any]]:
    """What was logged above info before the ping that was just sent."""
    await server.logged(lambda line: '"method":"ping"' in line, since)
    return [event for event in server.events(since) if event["level"] not in ("debug", "info")]


async def test_a_client_that_leaves_while_its_body_is_read_is_no_error(server: Process, http: httpx.AsyncClient) -> None:
    since = len(server.lines)
    for fields in ([], ["mcp-protocol-version: 2026-07-28", "mcp-method: tools/list"]):
        async with raw(server) as peer:
            peer.writer.write(post(b"{" * 1000, *fields)[:-500])
            await peer.writer.drain()
    await (await Legacy.begin(http, server.url)).post(request("ping"))
    assert await alarms(server, since) == []


async def test_a_client_that_leaves_a_stream_is_no_error(server: Process, session: Legacy) -> None:
    since = len(server.lines)
    async with session.listen() as stream:
        assert stream.status_code == 200
    body, headers = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    async with session.client.stream("POST", f"{server.url}/mcp", json=body, headers=headers) as listening:
        async for line in listening.aiter_lines():
            if line.startswith("data:"):
                break
    await session.post(request("ping"))
    assert await alarms(server, since) == []


async def test_every_revision_can_still_be_spoken(http: httpx.AsyncClient, server: Process) -> None:
    for revision in ("2025-03-26", "2025-06-18", LEGACY):
        response = await http.post(f"{server.url}/mcp", json=initialize(1, revision), headers={"accept": ACCEPT})
        assert messages(response.text)[-1]["result"]["protocolVersion"] == revision
