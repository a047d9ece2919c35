"""A client that leaves while its requests wait behind one another; spoken to over real sockets."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import anyio
import pytest

from moorage.edge.http import BoundedProtocol
from tests.unit.edge.speaking import Peer, Served, get, served

pytestmark = pytest.mark.anyio


class Watchful(BoundedProtocol):
    """Looks after its connections often, and tells of each time."""

    look_seconds = 0.02
    looks: asyncio.Queue[None]

    def _look(self) -> None:
        super()._look()
        self.looks.put_nowait(None)


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    """A server that looks after its connections often."""
    Watchful.looks = asyncio.Queue()
    async with served(Watchful) as it:
        yield it


def leave(peer: Peer, how: str) -> None:
    """Close at once, politely or not, with or without a rest of data that nobody reads."""
    connection: socket.socket = peer.writer.get_extra_info("socket")
    if how == "half":
        connection.shutdown(socket.SHUT_WR)
        return
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.close()


@pytest.mark.parametrize("how", ["close", "half", "reset"])
@pytest.mark.parametrize(
    "behind",
    [
        pytest.param([], id="alone"),
        pytest.param([get()], id="one behind"),
        pytest.param([get() for _ in range(10)], id="ten behind"),
        pytest.param([get(body="x" * 200_000)], id="a large one behind"),
        pytest.param([get(body="x" * 100)[:-50]], id="a half one behind"),
    ],
)
async def test_whoever_serves_the_first_request_of_a_connection_hears_that_its_client_has_left(
    server: Served, behind: list[bytes], how: str
) -> None:
    async with server.connect() as peer:
        await peer.send(get(target="/awaits"))
        with anyio.fail_after(5):
            await server.app.arrived.wait()
        peer.writer.writelines(behind)
        await asyncio.sleep(0)
        leave(peer, how)
        with anyio.fail_after(5):
            await server.app.disconnected.wait()


async def test_requests_that_wait_are_answered_in_their_order_however_often_the_connection_is_looked_at(server: Served) -> None:
    async with server.connect() as peer:
        await peer.send(get(target="/slow") + get(target="/second") + get(target="/third"))
        with anyio.fail_after(5):
            for _ in range(3):
                await Watchful.looks.get()
        server.app.go_on.set()
        answers = [await peer.response() for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert [request["path"] for request in server.app.requests] == ["/slow", "/second", "/third"]
