"""Somebody between two replicas, who reads, changes, repeats and answers what they say to each other, and has none of their keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from moorage.protocol.exchange import HttpExchange
from tests.comparison.wire import Exchange
from tests.integration.shared.conftest import Replica, Start, holds, ping

pytestmark = pytest.mark.anyio

FORGED = b"HTTP/1.1 %s\r\nset-cookie: a=b\r\nlocation: /elsewhere\r\ncontent-type: %s\r\ncontent-length: 6\r\n\r\nforged"


@dataclass
class Between:
    """Stands at the address that an owner has told, and passes on to where it listens.

    Attributes:
        answers: What is said instead of the owner, without asking it.
        changes: What becomes of the beginning of an owner's answer.
        requests: Whole requests that came by.
    """

    to: str
    answers: bytes = b""
    changes: Callable[[bytes], bytes] = bytes
    requests: list[bytes] = field(default_factory=list[bytes])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.requests.append(await _read(reader))
                if self.answers:
                    writer.write(self.answers)
                    await writer.drain()
                else:
                    writer.write(self.changes(await self.say(self.requests[-1])))
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def say(self, request: bytes) -> bytes:
        """Say something to the owner, and return its answer."""
        host, _, port = self.to.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            return await _read(reader)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


@asynccontextmanager
async def between(owner: Replica) -> AsyncIterator[Between]:
    """Stand before an owner's door; sessions that it claims from now on are looked for here."""
    replication = owner.service.replication
    assert replication is not None
    it = Between(replication.address)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    try:
        replication.address = replication.owner.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield it
    finally:  # waits for nobody: from Python 3.12 on a server's end waits for its connections, and the relay keeps its own open
        server.close()


def begin(method: str, replica: Replica, session: str) -> Exchange:
    match method:
        case "GET":
            return replica.listen(session)
        case "DELETE":
            return replica.open("DELETE", {"mcp-session-id": session})
        case _:
            return replica.post(session, id=1, method="ping")


async def refused(exchange: Exchange) -> bool:
    """Whether the client is told to come again because the owner cannot be reached; within a session a POST is refused under 200."""
    await exchange.finished()
    return exchange.status in (200, 503) and b"The replica that owns the session cannot be reached" in exchange.body


async def owns(replica: Replica, session: str) -> bool:
    return [living.id for living in replica.service._sessions()] == [session] and await ping(replica, session) == 200


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize(
    "status", [b"200 OK", b"302 Found", b"403 Forbidden", b"404 Not Found", b"421 Misdirected Request", b"202 Accepted"]
)
async def test_whoever_answers_instead_of_an_owner_is_not_heard_and_takes_no_session_from_it(start: Start, method: str, status: bytes):
    owner, other = await start(), await start()
    async with between(owner) as it:
        session = await owner.begin()
        it.answers = FORGED % (status, b"text/event-stream" if method == "GET" else b"application/json")
        exchange = begin(method, other, session)
        assert await refused(exchange)
    assert b"forged" not in exchange.body
    assert not {b"set-cookie", b"location"} & {name for name, _ in exchange.headers}
    assert await owns(owner, session)
    assert len(it.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.replace(b" 200 ", b" 421 ", 1),
        lambda answer: answer.replace(b" 200 ", b" 404 ", 1),
        lambda answer: answer.replace(b"content-type: application/json", b"content-type: text/event-stream", 1),
        lambda answer: answer.replace(b"\r\n", b"\r\nwww-authenticate: Basic\r\n", 1),
        lambda answer: answer.replace(b"x-moorage-proof", b"x-proof", 1),
    ],
    ids=["moved", "ended", "another type", "asks for a password", "unproved"],
)
async def test_an_owners_answer_that_was_changed_in_its_head_is_none(start: Start, change: Callable[[bytes], bytes]):
    owner, other = await start(), await start()
    async with between(owner) as it:
        session = await owner.begin()
        assert await ping(other, session) == 200, "what is only read goes through"
        it.changes = change
        assert await refused(begin("POST", other, session))
    assert await owns(owner, session)


async def test_fields_that_somebody_adds_to_an_answer_and_clients_do_not_need_go_no_further(start: Start):
    owner, other = await start(), await start()
    async with between(owner) as it:
        session = await owner.begin()
        it.changes = lambda answer: answer.replace(b"\r\n", b"\r\nset-cookie: a=b\r\naccess-control-allow-origin: *\r\n", 1)
        exchange = other.post(session, id=1, method="ping")
        await exchange.finished()
    assert exchange.status == 200
    assert not {b"set-cookie", b"access-control-allow-origin", b"x-moorage-proof"} & {name for name, _ in exchange.headers}


async def test_a_request_that_was_seen_on_its_way_runs_no_second_time(start: Start):
    owner, other = await start(), await start()
    owner.release.set()
    async with between(owner) as it:
        session = await owner.begin()
        call = other.post(session, id=7, method="tools/call", params={"name": "silent", "arguments": {}})
        await call.finished()
        assert call.status == 200
        assert (await it.say(it.requests[-1])).startswith(b"HTTP/1.1 403 ")
        moved = it.requests[-1].replace(b"POST /mcp", b"POST /mcp?", 1)
        assert (await it.say(moved)).startswith(b"HTTP/1.1 403 ")


async def test_a_fault_behind_the_door_is_the_answer_to_one_request_and_proved_as_any_other(start: Start):
    owner, other = await start(), await start()
    session = await owner.begin()
    service: Any = owner.service
    serve = service.serve_relayed

    async def fail(_: HttpExchange) -> None:
        service.serve_relayed = serve
        raise RuntimeError("with words that nobody is to read")

    service.serve_relayed = fail
    exchange = begin("POST", other, session)
    await exchange.finished()
    assert exchange.status == 500
    assert b"words" not in exchange.body
    assert await ping(other, session) == 200


async def test_a_fault_in_judging_a_token_lets_nobody_in_and_ends_nothing(start: Start, monkeypatch: pytest.MonkeyPatch):
    owner, other = await start(), await start()
    session = await owner.begin()

    def fail(*_: object) -> None:
        raise RuntimeError("with words that nobody is to read")

    with monkeypatch.context() as broken:
        broken.setattr("moorage.sessions.nonces.Nonces.claim", fail)
        exchange = begin("POST", other, session)
        assert await refused(exchange)
    assert b"words" not in exchange.body
    assert await ping(other, session) == 200
    assert await owns(owner, session)


async def test_a_tool_behind_the_door_sees_the_clients_fields_and_neither_token_nor_key(start: Start):
    owner, other = await start(), await start()
    async with between(owner) as it:
        session = await owner.begin()
        fields = {"mcp-session-id": session, "x-tenant": "blue", "authorization": "Bearer secret", "cookie": "a=secret"}
        seen: list[dict[bytes, bytes]] = []
        service: Any = owner.service
        serve = service.serve_relayed

        async def look(http: HttpExchange) -> None:
            seen.append(dict(http.request.headers.raw))
            await serve(http)

        service.serve_relayed = look
        exchange = other.open("POST", fields, {"jsonrpc": "2.0", "id": 1, "method": "ping"})
        await exchange.finished()
        await holds(lambda: seen)
    assert seen[0][b"x-tenant"] == b"blue"
    assert not {b"authorization", b"cookie", b"x-moorage-hop"} & set(seen[0])
    assert b"secret" not in b"".join(it.requests)
