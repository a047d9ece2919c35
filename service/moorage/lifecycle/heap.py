"""What a crowd leaves empty goes back to the system.

A process keeps the memory of its busiest hour: the C library returns only what is free at the end of its heap, and Python only an arena
on which nothing is left. `Crowd` tells when it is worth looking, `give_back` returns the C library's free pages wherever they are. With
`PYTHONMALLOC=malloc` in the environment those are all free pages, for some 5 % more CPU a call; without, the larger blocks alone.

The cycle collector is kept out of decoding: it would search again and again through tens of thousands of new containers that cannot have
cycles yet, for ten times as long as decoding itself takes.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

_WORTH_IT: Final = 1000
_CONNECTIONS_LINGER_SECONDS: Final = 10.0
"""uvicorn keeps what belongs to a closed connection for its keep-alive time-out of 5 s."""


class Crowd:
    """Sees many come and go.

    Args:
        clock: In seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most = 0
        self._since: float | None = None

    def has_left(self, number: int) -> bool:
        """Take note of how many there are, about once a second; True once, a while after at least half of them have left."""
        self._most = max(self._most, number)
        if number > self._most / 2 or self._most - number < _WORTH_IT:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        if self._clock() - self._since < _CONNECTIONS_LINGER_SECONDS:
            return False
        self._most, self._since = number, None
        return True


def give_back() -> None:
    """Return free pages to the system, where the C library can (glibc); takes some 10 ms for each 100 MiB of its heap."""
    import ctypes  # most processes never need it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def collector_at_rest() -> Generator[None]:
    """Keep the cycle collector from running in what makes many containers at once and awaits nothing."""
    runs = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if runs:
            gc.enable()


def rest_collector_this_turn() -> None:
    """Keep it from running until the loop's next turn: for a decoder in somebody else's code, which is about to be entered."""
    if gc.isenabled():
        gc.disable()
        asyncio.get_running_loop().call_soon(gc.enable)
