"""What is left of a body when its answer is complete: a little is read, then the connection closes and the answer stays readable."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import ClassVar

import anyio
import anyio.to_thread
import orjson
import pytest
import uvloop

from moorage.edge.http import MAX_PIPELINED, BoundedProtocol
from moorage.edge.rest_of_body import LINGER_BYTES, REST_BYTES
from tests.unit.edge.speaking import Peer, Served, get, served

pytestmark = pytest.mark.anyio

ONE_READ = 256 * 1024
"""The most that asyncio and uvloop read at a time."""

PATIENCE = 64 * 1024 * 1024
"""Bytes after which an endless sender of these tests gives up, and the test fails."""


class Counting(BoundedProtocol):
    """Counts what is read."""

    read: ClassVar[int] = 0
    paused: ClassVar[asyncio.Event]

    def data_received(self, data: bytes) -> None:
        Counting.read += len(data)
        super().data_received(data)
        if self.flow.read_paused:
            Counting.paused.set()


@pytest.fixture(params=[pytest.param(("asyncio", {"use_uvloop": loop}), id="uvloop" if loop else "asyncio") for loop in (True, False)])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    assert uvloop.__version__
    return request.param


@pytest.fixture
async def it() -> AsyncIterator[Served]:
    Counting.read, Counting.paused = 0, asyncio.Event()
    async with served(type("Patient", (Counting,), {"rest_seconds": 60.0})) as it:
        yield it


@pytest.fixture
async def hasty() -> AsyncIterator[Served]:
    async with served(type("Hasty", (BoundedProtocol,), {"rest_seconds": 0.05})) as it:
        yield it


def post(*fields: str, target: str = "/early", version: str = "1.1", method: str = "POST") -> bytes:
    return ("\r\n".join([f"{method} {target} HTTP/{version}", "host: x", *fields]) + "\r\n\r\n").encode()


CHUNKED = "transfer-encoding: chunked"


async def sends_without_end(peer: Peer, piece: bytes) -> int:
    """Send until the connection is closed; returns how much could be written."""
    sent = 0
    with suppress(ConnectionError), anyio.fail_after(20):
        while sent < PATIENCE:
            await peer.send(piece)
            sent += len(piece)
    return sent


@pytest.mark.parametrize("size", [1, 1000, 60_000])
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(post(CHUNKED), id="chunked"),
        pytest.param(post(CHUNKED, "connection: close"), id="the client closes"),
        pytest.param(post(CHUNKED, target="/closing"), id="the app closes"),
        pytest.param(post(f"content-length: {1 << 40}"), id="declared"),
        pytest.param(post(f"content-length: {1 << 40}", version="1.0"), id="HTTP 1.0"),
        pytest.param(post(CHUNKED, method="GET"), id="GET"),
        pytest.param(post(CHUNKED, method="DELETE"), id="DELETE"),
        pytest.param(post(CHUNKED, method="OPTIONS"), id="OPTIONS"),
        pytest.param(post(CHUNKED, "connection: upgrade", "upgrade: h2c"), id="upgrade"),
        pytest.param(post(CHUNKED, "expect: 100-continue"), id="continue"),
        pytest.param(get(target="/early") * 2 + post(CHUNKED), id="pipelined"),
    ],
)
async def test_an_endless_body_after_its_answer_is_bounded_in_bytes_and_the_answer_can_be_read(it: Served, head: bytes, size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"a" * size)
    piece = chunk * max(1, 60_000 // len(chunk))
    async with it.connect() as peer:
        await peer.send(head)
        for _ in range(head.count(b"HTTP/1") - 1):
            assert (await peer.response())[2] == b"early"
        status, headers, body = await peer.response()
        assert (status, body) == (200, b"early")
        assert await sends_without_end(peer, piece) < PATIENCE
    assert len(head) < Counting.read <= len(head) + REST_BYTES + LINGER_BYTES + 2 * ONE_READ
    if b"close" in head or b"1.0" in head:
        assert headers["connection"] == "close"


async def test_chunk_extensions_and_trailers_count_like_the_body(it: Served) -> None:
    for piece in (b"1;" + b"a" * 30_000 + b"\r\na\r\n", b"0\r\n" + b"x-a: b\r\n" * 8000):
        Counting.read = 0
        async with it.connect() as peer:
            await peer.send(post(CHUNKED))
            assert (await peer.response())[2] == b"early"
            assert await sends_without_end(peer, piece) < PATIENCE
        assert Counting.read <= REST_BYTES + LINGER_BYTES + 2 * ONE_READ


async def test_a_body_that_ends_soon_after_its_answer_leaves_the_connection_open(it: Served) -> None:
    async with it.connect() as peer:
        for head, parts in (
            (post("content-length: 60000"), [b"a" * 30_000, b"a" * 30_000]),
            (post(CHUNKED), [b"5\r\nhello", b"\r\n0\r\nx-t: a\r\n\r\n"]),
        ):
            await peer.send(head)
            status, headers, _ = await peer.response()
            assert (status, headers.get("connection")) == (200, None)
            for part in parts[:-1]:
                await peer.send(part)
                await asyncio.sleep(0)
            await peer.send(parts[-1] + get(target="/next"))  # in one write with what comes next
            assert orjson.loads((await peer.response())[2])["path"] == "/next"


async def test_a_body_that_does_not_go_on_after_its_answer_is_waited_for_a_moment_only(hasty: Served) -> None:
    for head in (post("content-length: 5"), post(CHUNKED), post("content-length: 5", "connection: close")):
        async with hasty.connect() as peer:
            await peer.send(head + b"1")
            assert (await peer.response())[2] == b"early"
            assert await peer.ended()


async def test_a_malformed_rest_of_a_body_is_not_answered_a_second_time(it: Served) -> None:
    async with it.connect() as peer:
        await peer.send(post(CHUNKED))
        assert (await peer.response())[2] == b"early"
        await peer.send(b"nonsense\r\n")
        assert await peer.ended(), "nothing follows the answer"


async def test_what_a_closing_answer_leaves_unread_does_not_take_it_back(it: Served) -> None:
    async with it.connect() as peer:
        await peer.send(post("content-length: 500000", target="/closing") + b"a" * 500_000)
        await asyncio.sleep(0)
        assert (await peer.response())[2] == b"early"


@pytest.mark.parametrize("size", [0, 10, 1000, 70_000, 2 << 20, 5 << 20])
@pytest.mark.parametrize("target", ["/early", "/closing"])
@pytest.mark.parametrize("at_once", [True, False], ids=["one write", "two writes"])
async def test_a_client_that_sends_all_before_it_reads_gets_its_answer(it: Served, target: str, size: int, at_once: bool) -> None:
    def ask() -> bytes:
        """As most HTTP libraries do; buffers are small, as on a network, so that the body is not simply put away by the system."""
        with socket.socket() as client:
            client.settimeout(20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            client.connect(("127.0.0.1", it.port))
            head, body = post(f"content-length: {size}", target=target), b"a" * size
            for part in [head + body] if at_once else [head, body]:
                client.sendall(part)
            return client.recv(65_536)

    for _ in range(20 if size < 100_000 else 3):
        assert (await anyio.to_thread.run_sync(ask)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_no_app_reads_is_held_back_while_the_answer_is_awaited(it: Served) -> None:
    async with it.connect() as peer:
        await peer.send(post(CHUNKED, target="/unread"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sends_without_end, peer, b"8000\r\n" + b"a" * 0x8000 + b"\r\n")
            with anyio.fail_after(5):
                await Counting.paused.wait()
            before = Counting.read
            async with it.connect() as other:
                await other.send(get(target="/early"))
                await other.response()
            assert Counting.read - before < 100 < before <= 2 * ONE_READ
            it.app.go_on.set()
            assert (await peer.response())[0] == 200


async def test_requests_that_wait_on_a_connection_are_few(it: Served) -> None:
    async with it.connect() as peer:
        await peer.send(get(target="/slow") + get(target="/early") * 5000)
        it.app.go_on.set()
        answers = [(await peer.response())[2] for _ in range(MAX_PIPELINED + 1)]
        assert answers[1:] == [b"early"] * MAX_PIPELINED
        assert await peer.ended()
    assert len(it.app.requests) == MAX_PIPELINED + 1


async def test_an_upgrade_without_a_body_is_complete(it: Served) -> None:
    async with it.connect() as peer:
        for _ in range(2):
            await peer.send(post("connection: upgrade", "upgrade: h2c", "content-length: 0", target="/read"))
            assert orjson.loads((await peer.response())[2])["body"] == ""
