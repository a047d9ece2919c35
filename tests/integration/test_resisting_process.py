"""A server whose async tools do not end when they are cancelled: every call has its answer all the same, and the process its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.integration.serving import Entry, Legacy, Process, answer, appears, client, messages, modern, request, serving
from tests.services import Redis, sealing_key

pytestmark = pytest.mark.anyio

TOOLS: Final = Path(__file__).with_name("resisting_tools.py")
HOWS: Final = ("swallows", "shielded scope", "asyncio.shield", "cleans up for ever")
NAMES: Final = ("plain", "with_context")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as it:
        yield it


def given(tool: str, how: str, name: str) -> dict[str, Any]:
    return {"name": tool, "arguments": {"how": how, "name": name}, "_meta": {"progressToken": name}}


async def post_modern(http: httpx.AsyncClient, server: Process, tool: str, how: str, number: int, **more: str) -> httpx.Response:
    params = given(tool, how, str(number))
    body, headers = modern("tools/call", {"name": tool, "arguments": params["arguments"]}, number)
    body["params"]["_meta"] = {**body["params"]["_meta"], **params["_meta"]}
    return await http.post(f"{server.url}/mcp", json=body, headers=[*headers.items(), *list(more.items()) * 2])


async def begin_all(http: httpx.AsyncClient, server: Process, folder: Path, tasks: asyncio.TaskGroup) -> dict[int, Any]:
    """Both tools, in every way, in both eras: a doubled header leaves a modern call to the SDK's endpoint, every third is a session's."""
    session = await Legacy.begin(http, server.url)
    calls: dict[int, Any] = {}
    for tool in NAMES:
        for how in HOWS:
            number = len(calls) + 1
            calls[number] = tasks.create_task(post_modern(http, server, tool, how, number))
            calls[number + 1] = tasks.create_task(post_modern(http, server, tool, how, number + 1, doubled="1"))
            old = request("tools/call", given(tool, how, str(number + 2)), number + 2)
            calls[number + 2] = tasks.create_task(session.post(old))
    for number in calls:
        await appears(folder / f"{number}.begun")
    return calls


async def test_with_a_store_what_can_be_resumed_ends_for_its_next_owner_and_all_else_is_answered(tmp_path: Path, redis: Redis) -> None:
    settings = {"DRAIN__BUDGET_SECONDS": "3", "DRAIN__SETTLE_SECONDS": "0", "plain_RESISTING": str(tmp_path)}
    settings |= {"STORE__URL": redis.url, "SECURITY__SEALING_KEYS": sealing_key(), "RELAY__PORT": "0"}
    async with serving("moorage", target=TOOLS, **settings) as server, client() as http, asyncio.TaskGroup() as tasks:
        calls = await begin_all(http, server, tmp_path, tasks)
        server.signal()
        for number, call in calls.items():
            response = await call
            if number % 3 == 0:
                assert "\nid: " in f"\n{response.text}", response.text
                assert not [message for message in messages(response.text) if "id" in message]
            else:
                message = answer(response)
                assert (message["id"], message["error"]["code"]) == (number, -32000), message
        assert await server.exit_code(within=5) == 0
    assert "exit.overdue" not in server.log  # it has ended by itself


@pytest.mark.parametrize("entry", ["moorage", "uvicorn"])
async def test_whatever_a_tool_does_with_its_cancellation_a_drain_answers_its_call_and_ends(tmp_path: Path, entry: Entry) -> None:
    settings = {"DRAIN__BUDGET_SECONDS": "3", "DRAIN__SETTLE_SECONDS": "0", "plain_RESISTING": str(tmp_path)}
    async with serving(entry, target=TOOLS, **settings) as server, client() as http, asyncio.TaskGroup() as tasks:
        calls = await begin_all(http, server, tmp_path, tasks)
        server.signal()
        for number, call in calls.items():
            message = answer(await call)
            assert (message["id"], message["error"]["code"]) == (number, -32000), message
            assert message["error"]["message"] == "The server is shutting down"
        assert await server.exit_code(within=5) == 0
    assert "exit.overdue" not in server.log  # it has ended by itself
    (unended,) = [event for event in server.events() if event["event"] == "calls.unended"]
    assert (unended["calls"], sorted(unended["names"])) == (len(calls), sorted(NAMES))


async def test_nor_does_it_keep_its_caller_beyond_the_deadline(tmp_path: Path) -> None:
    settings = {
        "CALLS__DEADLINE_SECONDS": "1",
        "DRAIN__BUDGET_SECONDS": "3",
        "DRAIN__SETTLE_SECONDS": "0",
        "plain_RESISTING": str(tmp_path),
    }
    async with serving("moorage", target=TOOLS, **settings) as server, client() as http, asyncio.TaskGroup() as tasks:
        calls = await begin_all(http, server, tmp_path, tasks)
        for number, call in calls.items():
            message = answer(await call)
            assert (message["id"], message["error"]["code"]) == (number, -32001), message
        server.signal()
        assert await server.exit_code(within=5) == 0
    assert "exit.overdue" not in server.log  # it has ended by itself
