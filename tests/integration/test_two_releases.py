"""Two releases of the service in one fleet on one store, as in the middle of a rollout: neither harms the other.

From the format of this release on, formats are versioned. The one before it was not sealed: its sessions end here, and ours there.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.integration.serving import client, modern
from tests.integration.sharing import ANN, GONE, KEYS, TOOLS, Party, error_of, text_of
from tests.services import Fleet, Redis, Replica
from tests.services.processes import ROOT

pytestmark = pytest.mark.anyio

OTHER_RELEASE = "3366f9240ad27f114bff24b92cc6ee614304e520"
"""The newest commit whose store has the format before this one; there is no release yet. With the first, its tag stands here."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def store() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the other release."""
    folder = tmp_path_factory.mktemp("other-release")
    archive = subprocess.run(["git", "archive", OTHER_RELEASE, "service"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.fail(f"the history is shallow and lacks {OTHER_RELEASE}, the other release of this test: git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / "service"


@pytest.fixture(scope="module")
async def fleet(anyio_backend: str, store: Redis, other: Path) -> AsyncIterator[Fleet]:
    """Replica 0 is of the other release, 1 and 2 are of this one."""
    settings = {"SESSIONS__LEASE_SECONDS": "2", **KEYS}
    own = {0: {"plain_PYTHONPATH": str(other)}}
    async with Fleet(TOOLS, size=3, store_url=store.url, settings=settings, settings_of=own) as it:
        yield it


def faults(replica: Replica) -> list[object]:
    """What a replica has logged that should not have been."""
    return [event for event in replica.events() if event.get("level") in ("error", "critical") or "exception" in event]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client() as it:
        yield it


async def test_the_fleet_has_both(fleet: Fleet, store: Redis):
    with store.client() as keys:
        assert len(list(keys.scan_iter("moorage:owner:*"))) == 1, "an owner as the other release writes it"
        assert len(list(keys.scan_iter("moorage:2:owner:*"))) == 2


async def test_modern_calls_work_on_both(fleet: Fleet, http: httpx.AsyncClient):
    for replica in fleet.replicas:
        call, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        response = await http.post(f"{replica.url}/mcp", json=call, headers={**headers, "authorization": f"Bearer {ANN}"})
        assert response.status_code == 200
        assert text_of(response.json()) == "3"


async def test_a_session_of_one_release_is_unknown_to_the_other_and_goes_on_at_its_own(fleet: Fleet, http: httpx.AsyncClient):
    older, new, newer = fleet.replicas
    for begun, own, foreign in ((older, older, new), (older, older, newer), (new, newer, older), (newer, new, older)):
        party = await Party.begin(http, begun, ANN)
        ping = {"jsonrpc": "2.0", "id": 9, "method": "ping"}
        assert error_of(await party.post(foreign, ping)) == GONE
        assert (await party.post(own, ping)).status_code == 200


async def test_notices_pass_both_ways(fleet: Fleet, http: httpx.AsyncClient):
    older, new, _ = fleet.replicas
    for publisher, listener in ((older, new), (new, older)):
        hears, says = await Party.begin(http, listener, ANN), await Party.begin(http, publisher, ANN)
        async with hears.listening(listener) as stream:
            await stream.event()  # where it begins
            assert await says.call(publisher, "publish", uri="") == "published"
            assert (await stream.until(lambda it: "method" in it))["method"] == "notifications/tools/list_changed"


async def test_none_of_them_ends_and_none_has_a_fault(fleet: Fleet):
    for replica in fleet.replicas:
        assert replica.running
        assert replica.is_ready()
        assert [event for event in replica.events() if event.get("event") == "serving.ready"], "what it logs is read"
        assert faults(replica) == []
