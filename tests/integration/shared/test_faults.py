"""A fault of one session, and the others."""

from __future__ import annotations

import pytest

from tests.integration.shared.conftest import Start, holds, ping

pytestmark = pytest.mark.anyio


async def test_a_fault_in_a_task_of_one_session_leaves_the_others_alone(start: Start):
    replica = await start()
    session = await replica.begin()

    async def broken() -> None:
        raise ValueError("a fault")

    replica.service._the_legacy._around.background.contained("notices-missed", broken)
    assert (await ping(replica, session)) == 200
    await holds(lambda: replica.service.replication.owner.alive)  # type: ignore[union-attr]
