"""HAProxy in front of replicas, made to be as unkind to sessions as a load balancer may be: the next request goes to the next replica."""

from __future__ import annotations

import csv
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

from tests.services.processes import LOOPBACK, Program, accepts, free_ports, program

REPLICA_HEADER: Final = "x-replica"
"""Header of an answer: which backend gave it, `r0` for the first."""

_CONFIGURATION: Final = """\
global
    stats socket {folder}/admin.sock mode 600 level admin

defaults
    mode http
    # An event of a stream is passed on as it comes, not when a segment is full.
    option http-no-delay
    # A client that leaves while its request waits for a replica takes the request with it.
    option abortonclose
    # Each request is a choice of its own, and finds out by connecting whether its replica is there. A kept connection would hold one
    # client to one replica for a while, and a replica that was killed would show as a cut answer instead of a refused connection.
    option http-server-close
    http-reuse never
    # Only what has reached no replica is sent to another one: nothing may be done twice.
    retries 3
    option redispatch 1
    retry-on conn-failure
    timeout connect 2s
    timeout check 2s
    timeout queue 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h

frontend public
    bind {address}:{port}
    default_backend replicas

backend replicas
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    http-response set-header {header} %s
    default-server check inter 200ms fall 1 rise 1
{servers}
"""


class Backend(NamedTuple):
    """A replica's ports on the loopback address."""

    port: int
    admin_port: int


class RoundRobin(Program):
    """A running HAProxy; what it serves may start later, end and come back."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        super().__init__("haproxy")
        [self.port] = free_ports(1)
        self._backends = backends

    @property
    def url(self) -> str:
        """Where clients go, without a path."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        servers = "\n".join(
            f"    server {name} {LOOPBACK}:{backend.port} port {backend.admin_port}"
            for name, backend in zip(self._names, self._backends, strict=True)
        )
        configuration = self.folder / "haproxy.cfg"
        configuration.write_text(
            _CONFIGURATION.format(folder=self.folder, address=LOOPBACK, port=self.port, header=REPLICA_HEADER, servers=servers)
        )
        self.run([program("haproxy", "haproxy"), "-db", "-f", configuration])
        self.wait_until(lambda: accepts(self.port), "listening", within=10)

    def shares(self) -> list[int]:
        """How many requests each backend has been given."""
        return [int(row["stot"]) for row in self._statistics() if row["svname"] in self._names]

    @property
    def _names(self) -> list[str]:
        return [f"r{number}" for number in range(len(self._backends))]

    def _statistics(self) -> list[dict[str, str]]:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.folder / "admin.sock"))
            admin.sendall(b"show stat\n")
            with admin.makefile() as answer:
                return list(csv.DictReader(answer.read().lstrip("# ").splitlines()))
