"""The probes of a real process, as a kubelet sees them."""

import asyncio
import signal
from pathlib import Path

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import appears, client, modern, probe, serving

pytestmark = pytest.mark.anyio


async def test_a_tool_that_blocks_the_event_loop_fails_liveness_until_it_returns(tmp_path: Path) -> None:
    async with serving() as server, client() as http:
        assert await probe(http, server, "livez") == 200
        release = tmp_path / "go-on"
        body, headers = modern("tools/call", {"name": "block_until", "arguments": {"path": str(release)}})
        call = asyncio.create_task(http.post(f"{server.url}/mcp", json=body, headers=headers))
        await appears(tmp_path / "go-on.begun")
        async with client(timeout=0.5) as impatient:
            with pytest.raises(httpx.TimeoutException):
                await probe(impatient, server, "livez")
        release.touch()
        assert (await call).status_code == 200
        assert await probe(http, server, "livez") == 200


async def test_probes_metrics_and_version_are_there_from_the_start() -> None:
    async with serving() as server, client() as http:
        answers = {name: await http.get(f"{server.admin}/{name}") for name in ("livez", "readyz?verbose", "startupz", "metrics", "version")}
    assert [answer.status_code for answer in answers.values()] == [200] * 5
    assert "[+]phase ok" in answers["readyz?verbose"].text
    assert answers["version"].json()["server"] == {"name": "slow-tools", "version": "1.0.0"}


async def test_metrics_are_openmetrics_and_know_of_the_call_that_was_made() -> None:
    async with serving() as server, client() as http:
        body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        await http.post(f"{server.url}/mcp", json=body, headers=headers)
        metrics = await http.get(f"{server.admin}/metrics")
    assert metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert metrics.text.endswith("# EOF\n")
    assert "mcp_server_operation_duration" in metrics.text


async def test_the_admin_paths_are_not_on_the_public_port_nor_the_endpoint_on_the_admin_port() -> None:
    async with serving() as server, client() as http:
        public = [(await http.get(f"{server.url}/{name}")).status_code for name in ("livez", "readyz", "metrics")]
        assert public == [404, 404, 404]
        assert (await http.post(f"{server.admin}/mcp", json={})).status_code == 404


async def test_readiness_is_503_before_the_listener_goes_away(tmp_path: Path) -> None:
    async with serving(DRAIN__SETTLE_SECONDS="2") as server, client() as http:
        server.signal(signal.SIGTERM)
        with anyio.fail_after(5):
            while await probe(http, server, "readyz") != 503:
                await asyncio.sleep(0)
        body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        assert (await http.post(f"{server.url}/mcp", json=body, headers=headers)).status_code == 200  # a balancer may not know yet
        assert await server.exit_code(within=10) == 0
