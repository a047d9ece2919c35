"""The connection to the store: how long an answer may take, and whether it answers at all.

Owns the client library and turns everything that it raises into `StoreUnavailable`. Promises that no wait is longer than
`store.timeout_seconds`, that a script runs once or its outcome is unknown and said so, and that after a failed beat nobody waits for the
store until it answers again (`available`). Leaves the meaning of keys to the modules beside it.

Source: docs/decisions/2026-11-24-ownership.md
"""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisClusterException, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from moorage.log_limit import LogLimit
from moorage.store.oddities import Oddities
from moorage.store.outage import StoreFull, StoreUnavailable, Unreadable
from moorage.store.script import script
from moorage.store.url import StoreAddress, check_ca_file, read_url

if TYPE_CHECKING:
    from moorage.settings import StoreSettings

log = structlog.get_logger("moorage.store")

_CONNECTIONS: Final = 32
_AT_ONCE: Final = _CONNECTIONS - 2
"""Commands at a time; one connection is for the bus, which waits in the store, one for the owner's refresh, which nobody may delay."""

_FAILURES: Final = (RedisError, RedisClusterException, OSError, TimeoutError, RuntimeError, AttributeError)
"""What the client library raises; a cluster that cannot be reached is no `RedisError` to it, nor is a connection that closed under a write
an `OSError`: uvloop raises a `RuntimeError`, and asyncio of Python 3.12 and 3.13 an `AttributeError`, of the loop that it has forgotten.
"""

_ODD: Final = re.compile(
    r"WRONGTYPE|: unreadable\b|attempt to |bad argument |Invalid stream ID|equal or smaller than|exhausted the last|is not an integer"
)
"""What the store says when a key has another type or content than our scripts write."""

_REFUSES: Final = re.compile(r"NOPERM|no permissions? |user executing the script can't")
"""What a store says to a user who may not do something; releases before 7 said it in words of their own within a script."""

FORMAT: Final = 2
"""Of sessions, their logs and registrations, and owners. 1 had no name, and was not sealed."""


class Store:
    """One process's access to the store.

    Attributes:
        available: Whether it answered lately.
        full: Whether it had no room when something was last to be written.
        untried: Whether `try_all` has to go through before anything else is asked of it: at the start, and once it has refused something.
        refusal: What it said when it refused something, until then; empty else.
        oddities: What was skipped of its content.
    """

    def __init__(self, settings: StoreSettings) -> None:
        """Raises: SettingsError: The settings name no usable store."""
        self.prefix = settings.prefix
        self.timeout_seconds = settings.timeout_seconds
        self._address = StoreAddress.parse(read_url(settings), settings.ca_file)
        if ca_file := self._address.options.get("ssl_ca_certs"):
            check_ca_file(ca_file)
        self._client = _connect(self._address, settings.timeout_seconds)
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.available = True
        self.full = False
        self.untried = False
        self.refusal = ""
        self._limit = LogLimit()
        self.oddities = Oddities()

    def key(self, kind: str, name: str) -> str:
        """A key of ours; what stands in braces decides the slot in a cluster.

        The format is part of the name: releases that know another one see none of these keys.
        """
        return f"{self.prefix}:{FORMAT}:{kind}:{{{name}}}"

    async def run(self, name: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> Any:
        """Run a script.

        Raises:
            StoreUnavailable: It may have run or not.
            StoreFull: It has not run.
            Unreadable: What it met is nothing of ours; it may have run in part.
        """
        self._refuse_while_out()
        try:
            async with asyncio.timeout(self.timeout_seconds), self._room:
                return await self.insist(name, keys, *arguments)
        except TimeoutError as error:
            raise StoreUnavailable(_reason(error)) from error

    async def insist(self, name: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> Any:
        """Run a script even while the store counts as out; for whoever finds out whether it is back.

        Raises:
            StoreUnavailable, StoreFull, Unreadable: See `run`.
        """
        found = script(name)
        try:
            async with asyncio.timeout(self.timeout_seconds):
                try:
                    answer = await cast("Any", self._client.evalsha(found.sha, len(keys), *keys, *cast("Any", arguments)))
                except NoScriptError:
                    answer = await cast("Any", self._client.eval(found.text, len(keys), *keys, *cast("Any", arguments)))
        except _FAILURES as error:
            raise self._meaning(error) from error
        if found.grows and self.full:
            self.full = False
            log.info("store.has_room")
        return answer

    async def try_all(self) -> None:
        """Do once whatever sessions need, with keys that are no session's: else a call meets a refusal once its tool has run.

        Raises:
            StoreUnavailable, StoreFull, Unreadable: See `run`.
        """
        for kind in ("s", "l", "p", "owner"):
            await self.insist("try", (self.key(kind, f"try:{secrets.token_hex(8)}"),))
        for shared in ("bus", "rings"):
            await self.insist("look", (f"{self.prefix}:{shared}",))
        self.untried, self.refusal = False, ""

    def _refuse_while_out(self) -> None:
        if not self.available or self.untried:
            raise StoreUnavailable("the store does not answer, or refuses what sessions need")

    def _tell(self, event: str, **fields: str) -> None:
        if self._limit.due(event) is not None:
            log.warning(event, **fields)

    def _meaning(self, error: BaseException) -> StoreUnavailable | Unreadable:
        """What an exception of the client library says."""
        text = _reason(error)
        if isinstance(error, ResponseError) and _ODD.search(text):
            return Unreadable(text)
        if isinstance(error, ResponseError) and _REFUSES.search(text):
            self.untried, self.refusal = True, text
            self._tell("store.refused", reason=text, effect="legacy sessions get 503 until the user may do all of it")
        if not isinstance(error, OutOfMemoryError) and "OOM " not in text:
            return StoreUnavailable(text)
        self.full = True
        self._tell("store.full", effect="no session begins and no event is kept until there is room; sessions and calls go on")
        return StoreFull("the store is full")

    async def command(self, *words: str | bytes | int, wait_seconds: float = 0.0) -> Any:
        """Run one command.

        Args:
            words: The command and its arguments; the second word is its key.
            wait_seconds: How long the command itself may block in the store.

        Raises:
            StoreUnavailable, StoreFull, Unreadable.
        """
        self._refuse_while_out()
        try:
            async with asyncio.timeout(self.timeout_seconds + wait_seconds), nullcontext() if wait_seconds else self._room:
                return await cast("Any", self._client).execute_command(*words)
        except _FAILURES as error:
            raise self._meaning(error) from error

    async def eviction_policy(self) -> str:
        """What the store does when it is full; empty when it does not say.

        Raises:
            StoreUnavailable.
        """
        return await self._info("memory", "maxmemory_policy")

    async def version(self) -> str:
        """The release of Redis that it is, or says to be compatible with; empty when it does not say.

        Raises:
            StoreUnavailable.
        """
        return await self._info("server", "redis_version")

    async def _info(self, section: str, name: str) -> str:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                info: dict[str, Any] = await cast("Any", self._client).info(section)
        except _FAILURES as error:
            raise StoreUnavailable(_reason(error)) from error
        node: Any = info if name in info else next(iter(info.values()), None)  # a cluster says it node by node
        return str(node.get(name, "")) if node else ""

    async def close(self) -> None:
        """Close every connection."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self._client.aclose()
                for sentinel in _sentinels(self._client):
                    await sentinel.aclose()
        except _FAILURES:
            return  # the process ends, and its sockets with it


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _sentinels(client: Redis | RedisCluster) -> list[Redis]:
    """The clients that ask the sentinels where the primary is, which nobody else closes."""
    pool: Any = getattr(client, "connection_pool", None)
    return cast("Any", pool).sentinel_manager.sentinels if isinstance(pool, SentinelConnectionPool) else []


def _connect(address: StoreAddress, timeout: float) -> Redis | RedisCluster:
    """A client that fails at once instead of trying again: what is tried again is decided by who knows what it means."""
    common: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        # While they are on, the library takes a connection that the server has closed for one that is open.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **address.options,
    }
    if address.kind == "cluster":
        common.pop("db")
        common["retry"] = Retry(NoBackoff(), 1)  # a slot that has moved is asked for at its new place
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return RedisCluster(startup_nodes=nodes, max_connections=_CONNECTIONS, **common)
    if address.kind == "sentinel":
        tls = {name: value for name, value in common.items() if name.startswith("ssl")}
        sentinel = Sentinel(list(address.nodes), sentinel_kwargs={"socket_timeout": timeout, "socket_connect_timeout": timeout, **tls})
        pool: Any = SentinelConnectionPool(address.service, sentinel, max_connections=_CONNECTIONS, **common)
        return Redis.from_pool(pool)
    [(host, port)] = address.nodes
    tls = common.pop("ssl", False)
    kind: dict[str, Any] = {"connection_class": SSLConnection} if tls else {}
    pool = BlockingConnectionPool(host=host, port=port, max_connections=_CONNECTIONS, timeout=timeout, **kind, **common)
    return Redis.from_pool(pool)
