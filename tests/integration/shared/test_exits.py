"""The same with a store as without one: whatever a handler raises is its call's own error, before and after it has streamed."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.events import written
from tests.services import Redis
from tests.unit.edge.raising import WAYS
from tests.unit.edge.test_exits import RAISED_BY, ask, assert_alive, assert_tool_error, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("era", ["modern", "replayed", "legacy"])
@pytest.mark.parametrize("tool", ["plain", "with_context", "after_progress"])
async def test_with_a_store_a_tool_that_raises_anything_in_any_way_is_answered(era: str, tool: str, redis: Redis) -> None:
    answered = 0
    async with serving(store={"url": redis.url, "prefix": uuid4().hex[:8]}) as harbour:
        for way in WAYS:
            for what in RAISED_BY[way]:
                with written() as logs:
                    exchange = await ask(harbour, era, "tools/call", {"name": tool, "arguments": {"way": way, "what": what}})
                assert_tool_error(exchange, logs, tool)
                answered += 1
        await assert_alive(harbour, era)
    assert answered >= 2 * len(WAYS) >= 10
