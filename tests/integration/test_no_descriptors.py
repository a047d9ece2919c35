"""A process that can open no more files: it says so once, and serves again when there are some."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import ExitStack

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import answer, client, modern, serving

pytestmark = pytest.mark.anyio

LIMIT = 64


async def test_a_process_without_file_descriptors_says_so_and_serves_again_when_it_has_some() -> None:
    async with serving("moorage") as server:
        (worker,) = server.workers()
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        host, port = server.url.removeprefix("http://").split(":")
        with ExitStack() as connections:
            for _ in range(2 * LIMIT):
                connections.enter_context(socket.create_connection((host, int(port)), timeout=5))
            await server.logged(lambda line: "descriptors.exhausted" in line)
        body, headers = modern("tools/list", {})
        with anyio.fail_after(10):
            while True:
                try:
                    async with client() as http:
                        listed = answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))
                    break
                except httpx.TransportError:  # it came before the process had heard that the others are gone
                    await asyncio.sleep(0)
        assert listed["result"]["tools"]
    (event,) = [event for event in server.events() if event["event"] == "descriptors.exhausted"]
    assert (event["level"], event["limit"], event["of"]) == ("error", LIMIT, "this process")
