"""What the service runs beside, as real processes on loopback: Redis or Valkey, HAProxy, a network that can be cut, a fleet of replicas.

Every class here is a context manager in both forms, `with` and `async with`. Its methods are ordinary ones; what waits (`start`, `stop`,
`restart`, `failover`) is called from a coroutine by `anyio.to_thread.run_sync`, so that one event loop can load a fleet while it is
broken. Only `Partition` lives in the event loop. What is missing on the machine is a `ServiceError` of one line that names the package.
"""

from tests.services.fleet import Fleet, Replica, addresses_of, sealing_key
from tests.services.haproxy import Backend, RoundRobin
from tests.services.partition import Partition
from tests.services.processes import ServiceError, free_ports
from tests.services.redis import Redis
from tests.services.redis_groups import Cluster, Sentinel

__all__ = [
    "Backend",
    "Cluster",
    "Fleet",
    "Partition",
    "Redis",
    "Replica",
    "RoundRobin",
    "Sentinel",
    "ServiceError",
    "addresses_of",
    "free_ports",
    "sealing_key",
]
