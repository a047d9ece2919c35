"""A request goes to its owner over a real connection, its answer comes back part by part, and every way to fail has its own name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import anyio
import pytest
from structlog.testing import CapturingLogger

from moorage.security.keyring import SealingKeys
from moorage.security.principal import Principal
from moorage.sessions.hop import HEADER, PROOF, PURPOSE, TARGET, Hops, Received
from moorage.sessions.relay import Answer, OwnerGone, OwnerLost, OwnerSilent, Relay
from tests.logged import logged
from tests.services import free_ports

pytestmark = pytest.mark.anyio

WITHIN = 10
ANN = Principal("ann", "k")
HEADERS = [
    (b"host", b"mcp.example.com"),
    (b"mcp-session-id", b" m1.x "),
    (b"accept", b"text/event-stream"),
    (b"content-type", b"application/json"),
]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


KEYS = SealingKeys.ephemeral()


@dataclass
class Owner:
    """A door that answers as a test says.

    Attributes:
        port: Where it is.
        requests: Head and body of each request that came.
        left: Set when whoever asked has closed the connection.
    """

    port: int = 0
    requests: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        self.requests.append((head, await reader.readexactly(length)))

    def received(self, head: bytes = b"") -> Received:
        """What a request's token says at this door; the newest's, if none is named."""
        method, target, headers = parsed(head or self.requests[-1][0])
        received = Hops(KEYS.sealer(PURPOSE), lambda: 1000.0).read(self.address, method.decode(), target, headers)
        assert isinstance(received, Received)
        return received

    def proof(self, answer: bytes, head: bytes = b"") -> bytes:
        """The proof of an answer to a request, as a line of its head."""
        _, status, headers = parsed(answer.partition(b"\r\n\r\n")[0])
        return b"%s: %s\r\n" % (PROOF, self.received(head).pledge.prove(int(status), headers))


def parsed(head: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """The first two words of a head, and its fields."""
    line, *fields = head.split(b"\r\n")
    first, second, *_ = line.split(b" ")
    return first, second, [(name.lower(), value.strip()) for name, _, value in (field.partition(b":") for field in fields if field)]


class Proving:
    """Writes for an owner, and proves each answer."""

    def __init__(self, it: Owner, writer: asyncio.StreamWriter) -> None:
        self._owner = it
        self._head = it.requests[-1][0]
        self.write_as_it_is = writer.write
        self.drain = writer.drain

    def write(self, data: bytes) -> None:
        """Write; the beginning of an answer is proved."""
        line, end, rest = data.partition(b"\r\n")
        self.write_as_it_is(line + end + self._owner.proof(data, self._head) + rest if data.startswith(b"HTTP/") else data)


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def owner(answer: Answering, *, proves: bool = True) -> AsyncIterator[Owner]:
    """A door; `answer` is called after each request that was read whole."""
    it = Owner()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        it.connections += 1
        try:
            while True:
                await it.read(reader)
                await answer(reader, cast("asyncio.StreamWriter", Proving(it, writer)) if proves else writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            it.left.set()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:  # waits for nobody: from Python 3.12 on a server's end waits for its connections, and the relay keeps its own open
        server.close()


@pytest.fixture
def hops() -> Hops:
    return Hops(KEYS.sealer(PURPOSE), lambda: 1000.0)


@pytest.fixture
async def relay(hops: Hops) -> AsyncIterator[Relay]:
    it = Relay(hops, connect_seconds=0.5, silence_seconds=1.0)
    yield it
    await it.close()


@asynccontextmanager
async def asking(
    relay: Relay, address: str, method: str = "POST", body: bytes = b"{}", trace: bytes | None = None
) -> AsyncIterator[Answer]:
    with anyio.fail_after(WITHIN):
        async with relay.ask("owner-1", address, method, HEADERS, body, ANN, trace) as answer:
            yield answer


async def whole(relay: Relay, address: str, method: str = "POST") -> tuple[int, bytes]:
    async with asking(relay, address, method) as answer:
        return answer.status, b"".join([part async for part in answer.parts])


def answering(text: bytes) -> Answering:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# What goes over


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_request_reaches_its_owner_with_a_hop_that_is_made_for_it(relay: Relay, hops: Hops, method: str):
    accepted = answering(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
    async with owner(accepted) as there, asking(relay, there.address, method, b'{"a":1}') as answer:
        assert answer.status == 202
    [(head, body)] = there.requests
    line, *fields = head.decode().split("\r\n")
    passed = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)}
    assert line == f"{method} /mcp HTTP/1.1"
    assert body == b'{"a":1}'
    assert {name: passed[name] for name in ("host", "mcp-session-id", "accept", "content-type")} == {
        name.decode(): value.decode().strip() for name, value in HEADERS
    }
    received = there.received()
    assert received.principal == ANN
    assert received.fits(b'{"a":1}')
    assert (received.pledge.owner, received.pledge.session) == ("owner-1", b"m1.x")
    assert hops.read(there.address, method, TARGET + b"?a=b", parsed(head)[2]) != received


async def test_what_is_the_clients_own_does_not_go_over_and_a_forged_hop_neither(relay: Relay):
    names = (b"authorization", b"cookie", b"traceparent", b"tracestate", b"te", HEADER, PROOF, b"upgrade", b"x-of-this-hop", b"host")
    own = [*((name, b"of the client") for name in names), (b"connection", b"keep-alive, X-Of-This-Hop"), (b"x-tenant", b"blue")]
    async with owner(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as there:
        with anyio.fail_after(WITHIN):
            async with relay.ask("owner-1", there.address, "POST", [*HEADERS, *own], b"{}", ANN, b"00-of-this-hop-01"):
                pass
    [(head, _)] = there.requests
    assert b"of the client" not in head
    assert b"traceparent: 00-of-this-hop-01" in head.lower()
    assert b"x-tenant: blue" in head.lower()
    assert b"host: mcp.example.com" in head.lower(), "the first, which the edge has judged"
    assert head.lower().count(HEADER) == 1


async def test_an_answer_comes_back_with_its_status_and_the_headers_that_clients_need_and_no_others(relay: Relay):
    others = [b"Date: now", b"Server: x", b"Set-Cookie: a=b", b"Access-Control-Allow-Origin: *", b"Location: http://other/", b"X-Any: x"]
    head = [b"HTTP/1.1 404 Not Found", b"Content-Type: application/json", b"Mcp-Session-Id: m1.y", *others]
    text = b"\r\n".join([*head, b"content-length: 2", b"", b"{}"])
    async with owner(answering(text)) as there, asking(relay, there.address) as answer:
        assert answer.status == 404
        assert dict(answer.headers) == {b"content-type": b"application/json", b"mcp-session-id": b"m1.y"}
        assert b"".join([part async for part in answer.parts]) == b"{}"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_an_answer_is_passed_on_part_by_part_as_it_comes(relay: Relay, method: str):
    seen = asyncio.Queue[bytes]()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for part in (b"data: 1\n\n", b"data: 2\n\n"):
            writer.write(chunk(part))
            await writer.drain()
            assert await seen.get() == part  # the next is not sent before this one has arrived
        writer.write(b"0\r\n\r\n")

    async with owner(answer) as there, asking(relay, there.address, method) as response:
        parts: list[bytes] = []
        async for part in response.parts:
            parts.append(part)
            seen.put_nowait(part)
        assert parts == [b"data: 1\n\n", b"data: 2\n\n"]


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_whoever_leaves_closes_the_hop(relay: Relay, method: str):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"data: 1\n\n"))
        if await reader.read(1) == b"":
            raise ConnectionResetError

    async with owner(answer) as there:
        async with asking(relay, there.address, method) as response:
            async for _ in response.parts:
                break
        with anyio.fail_after(WITHIN):
            await there.left.wait()


async def test_whoever_is_cancelled_before_the_answer_closes_the_hop(relay: Relay):
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        if await reader.read(1) == b"":
            raise ConnectionResetError

    async with owner(answer) as there:
        task = asyncio.create_task(whole(relay, there.address))
        with anyio.fail_after(WITHIN):
            await asked.wait()
            task.cancel()
            await there.left.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_calls_share_a_connection_and_streams_do_not(relay: Relay):
    async with owner(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")) as there:
        for _ in range(3):
            assert await whole(relay, there.address) == (200, b"{}")
        assert there.connections == 1
        for _ in range(2):
            assert await whole(relay, there.address, "GET") == (200, b"{}")
        assert there.connections == 3


async def test_a_kept_connection_that_the_owner_closed_is_not_taken_for_a_lost_owner(relay: Relay):
    async def answer_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        raise ConnectionResetError

    async with owner(answer_once) as there:
        assert await whole(relay, there.address) == (200, b"{}")
        with anyio.fail_after(WITHIN):
            await there.left.wait()
        await anyio.wait_all_tasks_blocked()
        assert await whole(relay, there.address) == (200, b"{}")


async def test_many_requests_at_once_are_not_held_back(relay: Relay):
    together = asyncio.Barrier(40)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await together.wait()  # until all of them are here
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with owner(answer) as there:
        answers = await asyncio.gather(*(whole(relay, there.address) for _ in range(40)))
    assert answers == [(200, b"{}")] * 40


# What fails


async def test_an_owner_whose_door_is_closed_is_gone(relay: Relay):
    [port] = free_ports(1)
    for method in ("POST", "GET"):
        with pytest.raises(OwnerGone):
            await whole(relay, f"127.0.0.1:{port}", method)


async def test_whoever_says_that_it_is_not_the_owner_is_not(relay: Relay):
    async with owner(answering(b"HTTP/1.1 421 Misdirected Request\r\ncontent-length: 0\r\n\r\n")) as there:
        with pytest.raises(OwnerGone):
            await whole(relay, there.address)


# Who answers


def edited(change: Callable[[bytes, Owner], bytes], it: list[Owner]) -> Answering:
    """Answers 421 with a proof that a test has changed."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b"HTTP/1.1 421 Misdirected Request\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
        line, end, rest = text.partition(b"\r\n")
        writer.write(change(line + end + it[0].proof(text) + rest, it[0]))
        await writer.drain()

    return answer


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("status", [200, 202, 204, 302, 403, 404, 421, 500, 503])
async def test_whoever_does_not_know_our_keys_says_nothing_whatever_it_answers(
    relay: Relay, status: int, method: str, monkeypatch: pytest.MonkeyPatch
):
    log = CapturingLogger()
    monkeypatch.setattr("moorage.sessions.relay.log", log)
    text = b"HTTP/1.1 %d Any\r\nlocation: /other\r\nset-cookie: a=b\r\ncontent-type: text/event-stream\r\ncontent-length: 3\r\n\r\nabc"
    async with owner(answering(text % status), proves=False) as there:
        with pytest.raises(OwnerSilent):
            await whole(relay, there.address, method)
    assert [(call.args, call.kwargs["status"]) for call in log.calls] == [(("relay.unproved",), status)]
    assert len(there.requests) == 1, "no redirect is followed, and nothing sent twice"


async def test_what_is_answered_in_an_owners_place_is_one_warning_a_minute_and_kind(relay: Relay):
    async with owner(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), proves=False) as there:
        with logged() as lines:
            for address in (there.address, "nowhere") * 3:
                with pytest.raises(OwnerSilent):
                    await whole(relay, address)
    assert [line["event"] for line in lines] == ["relay.unproved", "relay.no_address"]


async def test_the_body_of_a_stranger_is_not_waited_for(relay: Relay):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        if await reader.read(1) == b"":
            raise ConnectionResetError

    async with owner(answer, proves=False) as there:
        with pytest.raises(OwnerSilent):
            await whole(relay, there.address)
        with anyio.fail_after(WITHIN):
            await there.left.wait()


@pytest.mark.parametrize(
    "change",
    [
        lambda text, _: text.replace(b" 421 ", b" 200 "),
        lambda text, _: text.replace(b"retry-after: 1", b"retry-after: 9"),
        lambda text, _: text.replace(b"retry-after: 1\r\n", b""),
        lambda text, _: text.replace(b"retry-after: 1", b"retry-after: 1\r\nmcp-session-id: m1.mallory"),
        lambda text, _: text.replace(b"proof: 2.", b"proof: 3."),
        lambda text, _: text.replace(b"retry-after: 1", PROOF + b": 2.AAAA"),
        lambda text, it: text.replace(b"retry-after: 1", it.proof(text).strip()),
    ],
    ids=["status", "field", "field gone", "field more", "format", "two proofs", "the same twice"],
)
async def test_an_answer_that_was_changed_on_its_way_is_none(relay: Relay, change: Callable[[bytes, Owner], bytes]):
    it: list[Owner] = []
    async with owner(edited(change, it), proves=False) as there:
        it.append(there)
        with pytest.raises(OwnerSilent):
            await whole(relay, there.address)


async def test_an_answer_to_an_earlier_request_proves_nothing(relay: Relay):
    kept: list[bytes] = []
    it: list[Owner] = []

    def first(text: bytes, _: Owner) -> bytes:
        kept.append(text)
        return kept[0]

    async with owner(edited(first, it), proves=False) as there:
        it.append(there)
        with pytest.raises(OwnerGone):
            await whole(relay, there.address)
        with pytest.raises(OwnerSilent):
            await whole(relay, there.address)


@pytest.mark.parametrize(
    "address",
    [
        *("", "127.0.0.1", ":9191", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:9191/", "127.0.0.1:9191/x?y", "::1:9191"),
        *("user@127.0.0.1:9191", "user:pass@127.0.0.1:9191", "http://127.0.0.1:9191", "127.0.0.1:9191#", " 127.0.0.1:9191", "[::1]:9191\n"),
        *("127.0.0.1:9191\r\nx: y", "[::1%eth0]:9191", "[127.0.0.1]:9191", "[::1]9191", "a b:9191", "größe:9191", "a\0b:9191", "a:\u0661"),
    ],
)
async def test_an_address_that_is_more_or_less_than_host_and_port_is_asked_nothing(relay: Relay, address: str):
    with pytest.raises(OwnerSilent):
        await whole(relay, address)


async def test_an_owner_that_does_not_accept_in_time_is_silent(relay: Relay):
    with socket.socket() as full:  # nobody accepts, and the one place in the queue is taken
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        taken = [socket.socket() for _ in range(4)]
        try:
            for each in taken:
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
            with pytest.raises(OwnerSilent):
                await whole(relay, f"127.0.0.1:{port}")
        finally:
            for each in taken:
                each.close()


async def test_an_owner_that_has_the_request_and_says_nothing_is_lost(relay: Relay):
    async def nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        if await reader.read(1) == b"":
            raise ConnectionResetError

    async with owner(nothing) as there:
        with pytest.raises(OwnerLost):
            await whole(relay, there.address)
        assert len(there.requests) == 1


async def test_an_owner_that_breaks_off_before_it_answers_is_lost(relay: Relay):
    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ConnectionResetError

    async with owner(break_off) as there:
        with pytest.raises(OwnerLost):
            await whole(relay, there.address)


@pytest.mark.parametrize("rest", [b"5\r\nhal", b"", b"not a chunk\r\n"])
async def test_an_owner_that_breaks_off_within_its_answer_is_lost_after_what_came(relay: Relay, rest: bytes):
    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"data: 1\n\n") + rest)
        await writer.drain()
        raise ConnectionResetError

    parts: list[bytes] = []

    async def read(address: str) -> None:
        async with asking(relay, address) as response:
            async for part in response.parts:
                parts.append(part)  # noqa: PERF401 - what came before the end is what is looked at

    async with owner(break_off) as there:
        with pytest.raises(OwnerLost):
            await read(there.address)
    assert b"".join(parts).startswith(b"data: 1\n\n")


async def test_an_owner_that_falls_silent_within_its_answer_is_lost(relay: Relay):
    async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"data: 1\n\n"))
        if await reader.read(1) == b"":
            raise ConnectionResetError

    async with owner(fall_silent) as there:
        with pytest.raises(OwnerLost):
            await whole(relay, there.address)


async def test_whoever_speaks_something_else_is_lost(relay: Relay):
    async with owner(answering(b"SSH-2.0-OpenSSH\r\n")) as there:
        with pytest.raises(OwnerLost):
            await whole(relay, there.address)


async def test_a_fault_of_the_caller_is_no_verdict_on_the_owner(relay: Relay):
    class OwnFaultError(Exception):
        pass

    async def fail(address: str) -> None:
        async with asking(relay, address):
            raise OwnFaultError

    async with owner(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")) as there:
        with pytest.raises(OwnFaultError):
            await fail(there.address)
