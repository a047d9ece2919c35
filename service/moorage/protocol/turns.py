"""A tool that awaits what it says lets others have their turns of the event loop.

While a client reads as fast as its tool writes, nothing that a notice waits for suspends: a tool of nothing but `await ctx.info(...)` would
hold up everybody for as long as it has something to say.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Final

NOTICES_A_TURN: Final = 32
"""Notices of this process after which whoever sent the last of them waits for a turn: so many take one to two milliseconds."""

_notices: Final = count(1)


async def let_others() -> None:
    """Count a notice that was sent, and wait for one turn of the loop where it is time for it.

    After it was sent: several tasks of one tool would overtake each other otherwise.
    """
    if next(_notices) % NOTICES_A_TURN == 0:
        await asyncio.sleep(0)
