"""Several Redis servers that are one store: a primary and its replica under three sentinels, or a cluster of three primaries.

Neither uses `redis-cli`: what an operator would type is said by the client library.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final

import redis
from redis.crc import key_slot

from tests.services.processes import LOOPBACK, START_SECONDS, Program, Service, free_ports, until
from tests.services.redis import NEVER_AGAIN, Redis, binary

_SLOTS: Final = 16_384


class _Watch(Program):
    """One sentinel."""

    def __init__(self, primary: int, name: str, quorum: int) -> None:
        super().__init__("sentinel")
        [self.port] = free_ports(1)
        self._lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"dir {self.folder}",
            f"sentinel monitor {name} {LOOPBACK} {primary} {quorum}",
            f"sentinel down-after-milliseconds {name} 1000",
            f"sentinel failover-timeout {name} 5000",
        ]

    def client(self) -> redis.Redis:
        return redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=2, retry=NEVER_AGAIN, decode_responses=True)

    def ask(self, *words: str) -> object:
        try:
            with self.client() as client:
                return client.execute_command(*words)
        except redis.RedisError:
            return None

    def start(self) -> None:
        configuration = self.folder / "sentinel.conf"  # it is rewritten by the sentinel, and read again at a later start
        if not configuration.exists():
            configuration.write_text("\n".join(self._lines) + "\n")
        self.run([binary(), configuration, "--sentinel"])
        self.wait_until(lambda: self.ask("PING"), "ready")


class Sentinel(Service):
    """A primary, a replica, and three sentinels of which two have to agree that the primary is gone."""

    NAME: Final = "mymaster"

    def __init__(self, *, appendonly: bool = False) -> None:
        self.servers = [Redis(appendonly=appendonly)]
        self.servers.append(Redis(appendonly=appendonly, options=[f"replicaof {LOOPBACK} {self.servers[0].port}"]))
        self.sentinels = [_Watch(self.servers[0].port, self.NAME, quorum=2) for _ in range(3)]

    @property
    def url(self) -> str:
        """The store as `store.url` names it."""
        return f"redis+sentinel://{_addresses(each.port for each in self.sentinels)}/{self.NAME}"

    @property
    def primary(self) -> Redis:
        """The server that a running sentinel calls the primary now."""
        port = self._primary_port()
        return next(server for server in self.servers if server.port == port)

    def start(self) -> None:
        for each in (*self.servers, *self.sentinels):
            each.start()
        within = 2 * START_SECONDS  # a primary that a busy machine stops for 6 s is replaced, and follows the new one after 21 s
        until(self._is_whole, "the sentinels know each other and the replica", within, self._told)

    def stop(self) -> None:
        for each in (*self.sentinels, *self.servers):
            each.stop()

    def failover(self) -> Redis:
        """Have the sentinels make the replica the primary; returns it when all of them say so and it takes writes."""
        before = self.primary
        until(lambda: self.sentinels[0].ask("SENTINEL", "FAILOVER", self.NAME), "a failover is begun", START_SECONDS)
        return self.wait_for_another(before)

    def wait_for_another(self, before: Redis) -> Redis:
        """Wait until the sentinels have made another server the primary, as they do some seconds after one was killed."""
        [after] = [server for server in self.servers if server is not before]
        wanted = [LOOPBACK, str(after.port)]

        def done() -> bool:
            said = all(each.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME) == wanted for each in self.sentinels if each.running)
            return said and _info(after).get("role") == "master"

        until(done, "the replica is the primary", START_SECONDS, lambda: self.sentinels[0].log[-3000:])
        return after

    def _primary_port(self) -> int:
        for each in self.sentinels:
            answer = each.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
            if isinstance(answer, list):
                return int(answer[1])
        raise AssertionError("no sentinel answers")

    def _is_whole(self) -> bool:
        """Either server may be the primary: one that a busy machine held up for longer than `down-after-milliseconds` was replaced."""
        roles = {(info.get("role"), info.get("master_link_status")) for info in map(_info, self.servers)}
        return roles == {("master", None), ("slave", "up")} and all(map(self._knows, self.sentinels))

    def _knows(self, each: _Watch) -> bool:
        known = each.ask("SENTINEL", "MASTER", self.NAME)
        return isinstance(known, dict) and (int(known["num-slaves"]), int(known["num-other-sentinels"])) == (1, 2)

    def _told(self) -> str:
        seen = [each.ask("SENTINEL", "MASTER", self.NAME) for each in self.sentinels]
        return "\n".join(map(str, [*map(_info, self.servers), *seen]))


class Cluster(Service):
    """Three primaries that share the slots, without replicas.

    Args:
        appendonly: As for `Redis`.
        all_or_nothing: Whether one that is gone stops the others as well.
    """

    def __init__(self, *, appendonly: bool = False, all_or_nothing: bool = True) -> None:
        covered = f"cluster-require-full-coverage {'yes' if all_or_nothing else 'no'}"
        self.servers = [Redis(appendonly=appendonly, options=[*self._options(), covered]) for _ in range(3)]

    @property
    def url(self) -> str:
        """The store as `store.url` names it."""
        return f"redis+cluster://{_addresses(server.port for server in self.servers)}"

    def holder(self, key: str) -> Redis:
        """The server that a key belongs to."""
        slot = key_slot(key.encode())
        return next(server for server, last in zip(self.servers, self._bounds()[1:], strict=True) if slot < last)

    def start(self) -> None:
        for server in self.servers:
            server.start()
        with ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for server in self.servers]
            self._share_slots(clients)
            until(lambda: all(self._is_whole(client) for client in clients), "the cluster is whole", START_SECONDS)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    @staticmethod
    def _options() -> list[str]:
        [bus] = free_ports(1)
        return ["cluster-enabled yes", f"cluster-port {bus}", "cluster-node-timeout 2000", f"cluster-announce-ip {LOOPBACK}"]

    def _bounds(self) -> list[int]:
        return [_SLOTS * index // len(self.servers) for index in range(len(self.servers) + 1)]

    def _share_slots(self, clients: list[redis.Redis]) -> None:
        bounds = self._bounds()
        for number, client in enumerate(clients):
            if _cluster_info(client)["cluster_slots_assigned"] != "0":
                return  # started before, and kept its nodes.conf
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for server in self.servers[1:]:
            clients[0].execute_command("CLUSTER", "MEET", LOOPBACK, server.port, _bus_port(server))

    @staticmethod
    def _is_whole(client: redis.Redis) -> bool:
        info = _cluster_info(client)
        return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", "3")


def _addresses(ports: Iterable[int]) -> str:
    return ",".join(f"{LOOPBACK}:{port}" for port in ports)


def _info(server: Redis) -> dict[str, object]:
    try:
        with server.client() as client:
            return client.info("replication")  # type: ignore[return-value]
    except redis.RedisError:
        return {}


def _bus_port(server: Redis) -> int:
    with server.client() as client:
        return int(client.config_get("cluster-port")["cluster-port"])  # type: ignore[index]


def _cluster_info(client: redis.Redis) -> dict[str, str]:
    answer = client.execute_command("CLUSTER", "INFO")
    return dict(answer) if isinstance(answer, dict) else dict(line.split(":", 1) for line in str(answer).split())
