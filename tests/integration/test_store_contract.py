"""What `tests/unit/store` asks of one server holds for sentinels, for a cluster, and over TLS with a user of its own, too.

TLS needs Debian's `redis-server`: the server in a wheel has none. Where it is missing, one test fails and names it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import pytest

from moorage.store.bus import Notice
from tests.services import Cluster, Redis, Sentinel
from tests.services.redis import binary
from tests.unit.store.access import WITHIN, Member, Place, append, event, last, opens
from tests.unit.store.members import join, prefix
from tests.unit.store.test_append import *  # noqa: F403
from tests.unit.store.test_bus import *  # noqa: F403
from tests.unit.store.test_bus import listening
from tests.unit.store.test_ownership import *  # noqa: F403

__all__ = ["join", "prefix"]
pytestmark = pytest.mark.anyio
apart = anyio.to_thread.run_sync


@contextmanager
def placed(place: Place) -> Iterator[Place]:
    yield place
    place.close()


TLS = b"SSL_CTX_new" in binary().read_bytes()
KINDS = ["sentinel", "cluster", *(["tls and a user"] if TLS else [])]


def test_the_servers_program_speaks_tls():
    assert TLS, f"{binary()} was built without TLS, so nothing of the contract was tried over it: apt-get install redis-server"


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A store of each kind, for all tests of this module."""
    match request.param:
        case "sentinel":
            with Sentinel() as group, placed(Place(group.url, lambda: [group.primary.client()])) as it:
                yield it
        case "cluster":
            with Cluster() as cluster, placed(Place(cluster.url, lambda: [server.client() for server in cluster.servers])) as it:
                yield it
        case _:
            with Redis(tls=True, user="moorage", password="p:w@rd") as server:
                url = server.url.replace("p:w@rd", "p%3Aw%40rd")
                with placed(Place(url, lambda: [server.client()], ca_file=str(server.ca_file))) as it:
                    yield it


@pytest.fixture
async def failing(prefix: str) -> AsyncIterator[tuple[Sentinel, Member, Member]]:
    """Two replicas on sentinels of their own."""
    with Sentinel() as group, placed(Place(group.url, lambda: [group.primary.client()], steady=False)) as there:
        members = [Member.of(there, prefix) for _ in range(2)]
        for number, member in enumerate(members):
            assert await member.owner.begin(f"127.0.0.1:{number}")
        yield group, members[0], members[1]
        for member in members:
            await member.store.close()


async def test_a_failover_of_the_sentinels_costs_no_event_and_no_session(failing: tuple[Sentinel, Member, Member]):
    group, a, b = failing
    lease = await a.create("tag")
    await append(lease, opens("x"), event("x", b"1"))
    async with listening(a, b):
        with group.primary.client() as primary:
            assert primary.wait(1, 5000) == 1
        await apart(group.failover)
        with anyio.fail_after(WITHIN):
            assert await append(lease, event("x", b"2")) == 2
            taken = (await b.take("tag", a.dead(lease))).lease
        assert taken.epoch > lease.epoch
        assert await append(taken, last("x", b"3")) == 3
        assert [entry.data for entry in (await taken.read("x", 0)).entries] == [b"1", b"2", b"3"]
        await a.bus.publish(Notice("tools"))
        # A connection that only reads stays with the old primary until the sentinels close it.
        await b.until(lambda: Notice("tools") in b.heard, within=60)
