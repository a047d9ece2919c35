"""What the service hears of a store that is a group of servers."""

import asyncio

import pytest
from pydantic import SecretStr

from moorage.settings import StoreSettings
from moorage.store.client import Store
from moorage.store.outage import StoreUnavailable
from tests.services import Sentinel, free_ports

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


async def test_more_commands_at_once_than_there_are_connections_wait_for_one(anyio_backend: str):
    async with Sentinel() as sentinel:
        store = Store(StoreSettings(url=SecretStr(sentinel.url), timeout_seconds=5))

        answers = await asyncio.gather(*(store.run("beat", (store.key("owner", str(number)),), "address", 1000) for number in range(200)))

        assert len(answers) == 200
        await store.close()
