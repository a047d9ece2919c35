"""What the service hears of a store that is a group of servers."""

import asyncio
import re
from typing import Any

import pytest
from pydantic import SecretStr

from moorage.settings import StoreSettings
from moorage.store.client import Store
from moorage.store.outage import StoreUnavailable
from tests.integration.shared.conftest import Start, holds
from tests.logged import logged
from tests.services import Partition, Redis, Sentinel, free_ports

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("url", ["redis://{}", "redis+sentinel://{}/main", "redis+cluster://{}"])
async def test_a_store_that_nobody_reaches_is_out_of_reach_whatever_kind_it_is(url: str):
    [port] = free_ports(1)
    store = Store(StoreSettings(url=SecretStr(url.format(f"127.0.0.1:{port}")), timeout_seconds=1))

    with pytest.raises(StoreUnavailable):
        await store.insist("beat", ("{owner}",), "address", 1000)
    with pytest.raises(StoreUnavailable):
        await store.run("beat", ("{owner}",), "address", 1000)
    with pytest.raises(StoreUnavailable):
        await store.command("EXISTS", "{owner}")
    with pytest.raises(StoreUnavailable):
        await store.eviction_policy()

    await store.close()


async def test_a_store_that_is_too_old_is_told_of_and_a_new_enough_one_is_not(start: Start, redis: Redis):
    def older(answer: bytes) -> bytes:
        return re.sub(rb"redis_version:\d", b"redis_version:6", answer)

    async with Partition(redis.port, older) as old:
        replica, other = await start(store={"url": redis.url_at(old.port)}), await start()
        replication: Any = replica.service.replication
        await holds(replication.trouble)
        assert replication.trouble().startswith("the store is Redis 6.")
        assert replication.trouble().endswith("7.0 or Valkey is needed")
        with logged() as events:
            await replication._look_at_store()
        assert {(event["event"], event["log_level"], event["version"][:2]) for event in events} == {("store.too_old", "error", "6.")}
        enough: Any = other.service.replication
        await enough._look_at_store()
        assert enough.trouble() is None


async def test_more_commands_at_once_than_there_are_connections_wait_for_one(anyio_backend: str):
    async with Sentinel() as sentinel:
        store = Store(StoreSettings(url=SecretStr(sentinel.url), timeout_seconds=5))

        answers = await asyncio.gather(*(store.run("beat", (store.key("owner", str(number)),), "address", 1000) for number in range(200)))

        assert len(answers) == 200
        await store.close()
