"""The watch over the store's own feed finds an owner that writes after another took over, and a hole in the offsets."""

from __future__ import annotations

import pytest

from tests.chaos.writes import Watch
from tests.services.redis import Redis

pytestmark = pytest.mark.anyio

APPEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], ARGV[2] .. '-0', 'd', ARGV[3])
return 1
"""
CARELESS = APPEND.partition("end")[2]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def follow(*appends: tuple[str, int, int]) -> Watch:
    """Append by (script, epoch, offset) after the session went to that epoch; a negative epoch does not go there first."""
    async with Redis() as redis:
        with redis.client() as client:
            async with Watch(redis) as watch:
                for script, epoch, offset in appends:
                    if epoch > 0:
                        client.set("session", epoch)
                    client.eval(script, 2, "session", "log", abs(epoch), offset, 'text with "quotes"\r\n')
                client.ping()
            return watch


async def test_one_owner_after_the_other_is_right() -> None:
    watch = await follow((APPEND, 5, 1), (APPEND, 5, 2), (APPEND, 9, 3), (APPEND, -5, 4), (APPEND, 9, 4))
    assert watch.problems() == []
    assert (watch.written, watch.fenced) == (4, 1)


async def test_an_owner_that_is_not_fenced_is_found() -> None:
    watch = await follow((CARELESS, 5, 1), (CARELESS, 9, 2), (CARELESS, -5, 3))
    assert watch.problems() == ["two owners wrote: epoch 5 after 9 in log at offset 3"]


async def test_a_hole_in_the_offsets_is_found() -> None:
    watch = await follow((APPEND, 5, 1), (APPEND, 5, 3))
    assert watch.problems() == ["offset 3 follows 1 in log"]


async def test_a_watch_that_saw_nothing_says_so() -> None:
    assert (await follow()).problems() == ["the watch over the store saw no event being written"]
