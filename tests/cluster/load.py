"""Calls that go on while something happens to the release, and waiting for what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import httpx2

from tests.cluster.caller import Caller, structured
from tests.cluster.conftest import Open


@dataclass
class Load:
    """Calls that go on until they are told to stop; every failure is kept."""

    done: int = 0
    failures: list[str] = field(default_factory=list)
    over: bool = False

    async def keep_calling(self, open_caller: Open) -> None:
        """Modern calls on kept connections, each tenth on a new one."""
        while not self.over:
            async with open_caller() as client:
                for _ in range(10):
                    await self._one(client)

    async def _one(self, client: Caller) -> None:
        try:
            answer = structured(await client.http.send(client.call_request("add", a=self.done, b=1)))
            assert isinstance(answer, int)
        except (AssertionError, httpx2.HTTPError, KeyError, ValueError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        self.done += 1

    async def reaches(self, calls: int) -> None:
        """Wait until so many more calls were made."""
        goal = self.done + calls
        while self.done < goal:
            await anyio.sleep(0.02)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the cluster's controllers do in their own time."""
    with anyio.fail_after(120):
        while not await anyio.to_thread.run_sync(true):
            await anyio.sleep(0.5)
