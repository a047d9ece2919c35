"""The log in the store says of every stream and every position what the model of `tests/unit/streams` says."""

from __future__ import annotations

import random

import anyio.to_thread
import pytest

from moorage.store.sessions import Lease
from moorage.streams.position import Position, recoverable
from tests.unit.store.access import Place, append, event, last, opens
from tests.unit.store.members import Join
from tests.unit.streams.log_model import LogModel

pytestmark = pytest.mark.anyio

STREAMS = ["g", "a-1", "a-2"]


async def agrees(lease: Lease, log: LogModel) -> None:
    for stream in [*STREAMS, "never"]:
        for after in range(0, log.head + 2, 1 + log.head // 8):
            found, expected = await lease.read(stream, after), log.tail(stream, after)
            assert (found.head, found.newest, found.open) == (expected.head, expected.newest, expected.open)
            assert [(entry.offset, entry.last) for entry in found.entries] == [(entry.offset, entry.last) for entry in expected.entries]
            assert recoverable(Position(stream, after), found) == log.misses_nothing(stream, after)


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_written_trimmed_expired_and_handed_over_the_store_knows_what_is_missing(
    join: Join, place: Place, prefix: str, seed: int
):
    chance = random.Random(seed)
    most = chance.randint(2, 9)
    members = [await join(log_events=most) for _ in range(2)]
    holder, lease, log = 0, await members[0].create("tag"), LogModel(most)
    for _ in range(40):
        stream = chance.choice(STREAMS)
        action = chance.random()
        if action < 0.08:
            holder, dead = 1 - holder, members[holder].dead(lease)
            lease = (await members[holder].take("tag", dead)).lease
        elif action < 0.13 and log.kept:
            [key] = [key for key in place.keys(prefix) if ":l:" in key]
            await anyio.to_thread.run_sync(place.expire, key)
            log.expire()
        elif stream in log.ended:
            continue
        elif stream not in log.opened:
            log.open(stream)
            log.append(stream)
            await append(lease, opens(stream), event(stream))
        elif chance.random() < 0.1:
            log.append(stream, last=True)
            await append(lease, last(stream))
        else:
            log.append(stream)
            await append(lease, event(stream))
    await agrees(lease, log)
