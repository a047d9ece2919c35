"""The same with a store as without one: half a surrogate pair leaves as U+FFFD or is its call's error."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.services import Redis
from tests.unit.edge.test_exits import serving
from tests.unit.edge.test_surrogates import Said, hold, server

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


async def test_with_a_store_no_half_of_a_pair_leaves_wherever_it_stands(redis: Redis) -> None:
    said = Said()
    async with serving(server=server(said), store={"url": redis.url, "prefix": uuid4().hex[:8]}) as harbour:
        await hold(harbour, said, examples=10)
