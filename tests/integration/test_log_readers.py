"""Who reads the log, or does not: a served process goes on serving."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2 as httpx
import pytest

from tests.integration.serving import TOOLS, modern
from tests.services.fleet import environment
from tests.services.processes import ROOT, free_ports, until

pytestmark = pytest.mark.anyio
CALLS = 500  # a line each fills a pipe of 64 KiB


async def serve_and_call(prefix: Sequence[str], calls: int, stderr: int | None = None) -> None:
    """Serve with these standard streams, until calls and liveness were answered."""
    port, admin = free_ports(2)
    variables = environment(TOOLS, SERVER__PORT=str(port), ADMIN__PORT=str(admin))
    command = [*prefix, sys.executable, "-m", "moorage", "serve"]
    process = await asyncio.create_subprocess_exec(*command, env=variables, cwd=ROOT, stderr=stderr)
    try:
        async with httpx.AsyncClient(timeout=20) as http:
            await anyio.to_thread.run_sync(until, lambda: is_ready(admin), "the server is ready", 30)
            body, headers = modern("tools/list")
            for _ in range(calls):
                assert (await http.post(f"http://127.0.0.1:{port}/mcp", json=body, headers=headers)).status_code == 200
            assert (await http.get(f"http://127.0.0.1:{admin}/livez")).status_code == 200
        process.terminate()
        with anyio.fail_after(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def is_ready(admin: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{admin}/readyz").status_code == 200
    except httpx.TransportError:
        return False


async def test_calls_and_probes_are_answered_while_nobody_reads_the_log() -> None:
    reader, writer = os.pipe()
    try:
        await serve_and_call([], CALLS, stderr=writer)
        os.close(writer)
        writer = -1
        os.set_blocking(reader, False)
        assert len(os.read(reader, 1 << 20)) > 60_000, "the pipe was full"
    finally:
        for descriptor in {reader, writer} - {-1}:
            os.close(descriptor)


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&- 1>&- 2>&-"])
async def test_it_serves_when_it_was_started_without_standard_streams(closed: str) -> None:
    await serve_and_call(["sh", "-c", f'exec "$@" {closed}', str(Path(sys.executable).name)], 1)
