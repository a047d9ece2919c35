"""What a client has to be able to do, and what one try at it may use; the same words for the clients of all makers.

A feature is a coroutine that ends when the client can do it and raises when it cannot; its docstring says what holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.clients.driver import Connection, Driver
from tests.clients.stage import Stage

MODERN: Final = "2026-07-28"
"""The revision without sessions; the others are of the handshake era."""

_MOST_CONNECTS: Final = 30


class Wrong(Exception):  # noqa: N818 - a verdict
    """The client saw something else than it should have."""


def expect(what: str, wanted: object, got: object) -> None:
    """Compare.

    Raises:
        Wrong: They differ.
    """
    if wanted != got:
        raise Wrong(f"{what}: {wanted!r} was expected, and {got!r} came")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One client's try at one feature; the connections that it opens end with it.

    Attributes:
        together: Where the clients that try at the same time can wait for each other.
    """

    stage: Stage
    driver: Driver
    guise: str
    together: asyncio.Barrier
    _open: list[Connection] = field(default_factory=list[Connection])

    @property
    def modern(self) -> bool:
        """Whether there are no sessions."""
        return self.guise == MODERN

    async def connect(self, *, thinks: bool = False) -> Connection:
        """Connect another client; one that `thinks` answers no question until it is told to."""
        connection = await Connection.open(self.driver, self.stage.url, self.guise, thinks=thinks)
        self._open.append(connection)
        return connection

    async def connect_elsewhere(self, process: str) -> Connection:
        """Connect another client, to a session that is owned by another process than this one."""
        return await self._connect_where(lambda owner: owner != process, thinks=False)

    async def connect_to(self, process: str, *, thinks: bool = False) -> Connection:
        """Connect another client, to a session that is owned by this process."""
        return await self._connect_where(lambda owner: owner == process, thinks=thinks)

    async def _connect_where(self, wanted: Callable[[str], bool], *, thinks: bool) -> Connection:
        for number in range(_MOST_CONNECTS):
            connection = await self.connect(thinks=thinks)
            if wanted((await connection.call("where")).text):
                return connection
            if number % len(self.stage.fleet) == 0:  # else a client's way of connecting may keep step with the round robin
                await connection.call("add", a=0, b=0)
            await self.end(connection)
        raise Wrong("no session came to the replica in question")

    async def kill(self, process: str) -> None:
        """SIGKILL a replica, once for all the clients that try at the same time and when all of them are there."""
        if await self.together.wait() == 0:
            await self.stage.kill(process)
        await self.together.wait()

    async def end(self, connection: Connection) -> None:
        """End a client before its time."""
        self._open.remove(connection)
        await connection.end()

    async def leave(self) -> None:
        """End the clients that are still connected, whatever state they are in."""
        await asyncio.gather(*(connection.end() for connection in self._open), return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of a table.

    Attributes:
        absent: Why clients of a revision have no such thing, by revision.
        at_once: Whether all clients try it at the same time: it breaks nothing, or the same for all.
    """

    name: str
    prove: Callable[[Attempt], Awaitable[None]]
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    at_once: bool = True
