"""Every kind of store that `store.url` can name carries sessions from replica to replica."""

import asyncio
from collections.abc import AsyncIterator, Callable

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import ACCEPT, TOOLS, Legacy, answer, client, initialize, request
from tests.services import Cluster, Fleet, Redis, Sentinel

pytestmark = pytest.mark.anyio
apart = anyio.to_thread.run_sync

AT_ONCE = 80
"""More sessions that begin at once than a replica has connections to its store."""

Store = Redis | Sentinel | Cluster
KINDS: dict[str, Callable[[], Store]] = {
    "standalone": lambda: Redis(user="moorage", password="p@ss/word"),
    "tls": lambda: Redis(tls=True, password="secret"),
    "sentinel": Sentinel,
    "cluster": Cluster,
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with request.param() as it:
        yield it


def fleet_on(store: Store) -> Fleet:
    trusted = {"STORE__CA_FILE": str(store.ca_file)} if isinstance(store, Redis) and store.ca_file else {}
    return Fleet(TOOLS, size=2, store_url=store.url, settings=trusted)


async def adds(http: httpx.AsyncClient, url: str, session: Legacy, number: int) -> bool:
    """Whether the session's call is answered rightly at this replica, asked again where it says so for at most ten seconds."""
    message = request("tools/call", {"name": "add", "arguments": {"a": number, "b": 1}}, number)
    with anyio.fail_after(10):
        while (said := await http.post(f"{url}/mcp", json=message, headers=session.headers)).headers.get("retry-after"):
            await asyncio.sleep(0.1)
    return said.status_code == 200 and answer(said)["result"]["structuredContent"] == {"result": number + 1}


async def test_a_session_goes_on_elsewhere_when_its_owner_was_killed_and_ends_everywhere(store: Store):
    async with fleet_on(store) as fleet, client() as http:
        session = await Legacy.begin(http, fleet[0].url)
        assert await adds(http, fleet[1].url, session, 1)
        assert await adds(http, fleet[0].url, session, 2)
        fleet.kill(0)
        assert await adds(http, fleet[1].url, session, 3)
        await apart(fleet.restart, 0)
        assert await adds(http, fleet[0].url, session, 4)
        assert (await http.delete(f"{fleet[0].url}/mcp", headers=session.headers)).status_code == 200
        for replica in fleet.replicas:
            assert (await http.post(f"{replica.url}/mcp", json=request("ping"), headers=session.headers)).status_code == 404


async def test_a_crowd_of_sessions_that_begin_at_once_waits_for_the_store(store: Store):
    async with fleet_on(store) as fleet, client() as http:
        opening = {"json": initialize(), "headers": {"accept": ACCEPT}}
        answers = await asyncio.gather(*(http.post(f"{fleet[0].url}/mcp", **opening) for _ in range(AT_ONCE)))
    assert [said.status_code for said in answers] == [200] * AT_ONCE


async def test_a_session_survives_the_failover_of_its_store():
    async with Sentinel() as store, fleet_on(store) as fleet, client() as http:
        session = await Legacy.begin(http, fleet[0].url)
        assert await adds(http, fleet[1].url, session, 1)
        await apart(store.failover)
        assert await adds(http, fleet[1].url, session, 2)
        assert await adds(http, fleet[0].url, session, 3)
        assert (await Legacy.begin(http, fleet[1].url)).headers["mcp-session-id"]


async def test_openings_that_fail_for_want_of_a_part_of_the_store_leave_no_trace():
    narrow = {"SESSIONS__MAX_SESSIONS_PER_PRINCIPAL": "2"}
    async with (
        Cluster(all_or_nothing=False) as store,
        Fleet(TOOLS, size=1, store_url=store.url, settings=narrow) as fleet,
        client() as http,
    ):
        first = await Legacy.begin(http, fleet[0].url)
        anywhere = (":s:", ":owner:")  # named by chance: with one of them on each server none would be left to lose
        needed = {store.holder(key) for server in store.servers for key in keys_of(server) if not any(kind in key for kind in anywhere)}
        lost = next(server for server in store.servers if server not in needed)
        assert (await http.delete(f"{fleet[0].url}/mcp", headers=first.headers)).status_code == 200
        lost.kill()
        failed = 0
        with anyio.fail_after(60):
            while failed < 5:
                said = await http.post(f"{fleet[0].url}/mcp", json=initialize(), headers={"accept": ACCEPT})
                if said.status_code == 200:
                    await http.delete(f"{fleet[0].url}/mcp", headers={"mcp-session-id": said.headers["mcp-session-id"]})
                else:
                    assert "out of reach" in said.text
                    failed += 1


def keys_of(server: Redis) -> list[str]:
    with server.client() as direct:
        return [str(key) for key in direct.scan_iter()]
