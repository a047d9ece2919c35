"""Where this process is in its life: starting, ready, draining, stopped.

Owns one fact and the rule that it only moves forward. Probes, the edge and the drain read it; nothing is done about it
here. Every method may be called from a signal handler or from another thread: no lock is taken, and a phase is derived
from flags that are each set once, so that no interleaving can take a process back from draining to ready.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum


class Phase(Enum):
    """A process is in exactly one of these, in this order; it may skip READY."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class Lifecycle:
    """The phase of one process, and a way to wait for the drain."""

    __slots__ = ("_draining", "_ready", "_right_to_drain", "_stopped", "_waiters")

    def __init__(self) -> None:
        self._ready = False
        self._draining = False
        self._stopped = False
        self._right_to_drain = [True]  # popping is atomic: exactly one caller gets it, even inside a signal handler
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def phase(self) -> Phase:
        """The phase at this moment."""
        if self._stopped:
            return Phase.STOPPED
        if self._draining:
            return Phase.DRAINING
        return Phase.READY if self._ready else Phase.STARTING

    @property
    def draining(self) -> bool:
        """True from the start of the drain to the end of the process."""
        return self._draining or self._stopped

    def ready(self) -> None:
        """Everything that a request needs is there. Has no effect once a drain has begun."""
        self._ready = True

    def begin_drain(self) -> bool:
        """Stop being ready; True for the one caller that began the drain."""
        try:
            self._right_to_drain.pop()
        except IndexError:
            return False
        self._draining = True
        self._wake()
        return True

    def stopped(self) -> None:
        """Nothing is served any more."""
        self._stopped = True
        self._wake()

    async def wait_draining(self) -> None:
        """Return when the drain begins, or at once if it has begun; bounded by the life of the process."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            if not self.draining:  # after the append: whoever begins the drain from now on sees this waiter
                await waiter
        finally:
            self._waiters.remove(waiter)

    def _wake(self) -> None:
        for waiter in tuple(self._waiters):
            with suppress(RuntimeError):  # its loop is closed, and nobody waits on it any more
                waiter.get_loop().call_soon_threadsafe(_release, waiter)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
