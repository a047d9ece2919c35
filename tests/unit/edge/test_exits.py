"""Whatever a handler raises is its call's own error: with the call's id, CORS headers and one log event, and the process lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from moorage.app import create_app
from moorage.settings import Settings
from tests.comparison.wire import Exchange, lifespan
from tests.events import written
from tests.services import sealing_key
from tests.unit.edge.conftest import HEAD, MODERN, Harbour, header
from tests.unit.edge.raising import RAISED, WAYS, Middleware, high_level, low_level

pytestmark = pytest.mark.anyio

ORIGIN = "https://app.example.com"


def _is_no_fault(way: str, what: str) -> bool:
    return (what == "cancelled" and way.endswith("group")) or (what == "generator" and way == "thread")


# A cancelled child is no failure of its group. GeneratorExit of a future (of a thread that the tool starts itself) closes all frames of
# the task that awaits it, as if it were thrown away; of a plain function, which runs in our threads, it is raised in its caller.
RAISED_BY = {way: [what for what in RAISED if not _is_no_fault(way, what)] for way in [*WAYS, "sync"]}
LOGGED = {"mcp.tool_failed", "mcp.handler_failed", "mcp.answer_failed", "http.failed"}


@asynccontextmanager
async def serving(
    json_responses: bool = False, middleware: str | None = None, store: Mapping[str, Any] | None = None, server: Any = None
) -> AsyncIterator[Harbour]:
    mcp = high_level() if server is None else server
    shared: dict[str, Any] = {} if store is None else {"store": store, "relay": {"port": 0}}
    keys = {} if store is None else {"sealing_keys": sealing_key()}
    settings = Settings.model_validate(
        {
            **shared,
            "admin": {"port": 0},
            "logs": {"level": "info"},
            "security": {"allowed_origins": [ORIGIN], **keys},
            "http": {"json_responses": json_responses},
        }
    )
    if middleware is not None:
        mcp._lowlevel_server.middleware.append(Middleware(middleware))
    harbour = Harbour(create_app(settings, mcp))
    async with lifespan(harbour.app):
        yield harbour


async def ask(harbour: Harbour, era: str, method: str, params: Mapping[str, Any]) -> Exchange:
    """One request of an era, from a browser's page, to its end."""
    if era == "legacy":
        session = header(await harbour.session(), "mcp-session-id")
        assert session is not None
        message = {"id": 7, "method": method, "params": {**params, "_meta": {"progressToken": "p", **params.get("_meta", {})}}}
        exchange = harbour.legacy(session, message, {"origin": ORIGIN})
    else:
        name = params.get("name") or params.get("uri")
        meta = {
            "progressToken": "p",
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            **params.get("_meta", {}),
        }
        # a name that the recognised path does not take as it is sends the request to the SDK's own endpoint
        routing = {"mcp-protocol-version": MODERN, "mcp-method": method, **({"mcp-name": name} if name else {})}
        if era == "replayed":
            routing["accept"] = " application/json , text/event-stream "
            routing["content-type"] = " application/json"
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}}
        exchange = harbour.open("POST", {**HEAD, **routing, "origin": ORIGIN}, body)
    with anyio.fail_after(10):
        await exchange.finished()
    return exchange


def last(exchange: Exchange) -> dict[str, Any]:
    """The last message of a response."""
    text = exchange.body.decode()
    if text.startswith("{"):
        return json.loads(text)
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and line[5:].strip()][-1]


def assert_tool_error(exchange: Exchange, logs: list[Any], tool: str) -> None:
    """It is answered as an ordinary exception of the same tool is."""
    assert_answered(exchange, logs)
    assert last(exchange)["result"]["content"] == [{"type": "text", "text": f"Error executing tool {tool}"}]
    assert [entry["outcome"] for entry in logs if entry["event"] == "mcp.request" and entry["method"] == "tools/call"] == ["tool_error"]


def assert_answered(exchange: Exchange, logs: list[Any]) -> None:
    assert exchange.status == 200, exchange.body
    message = last(exchange)
    assert message["id"] == 7
    assert message.get("error", {}).get("code") == -32603 or message["result"]["isError"] is True
    assert "a secret" not in exchange.body.decode()
    assert header(exchange, "access-control-allow-origin") == ORIGIN
    assert len([entry["event"] for entry in logs if entry["event"] in LOGGED or entry["logger"].startswith("mcp.")]) == 1, logs


async def assert_alive(harbour: Harbour, era: str) -> None:
    exchange = await ask(harbour, era, "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
    assert last(exchange)["result"]["content"][0]["text"] == "3"


@pytest.mark.parametrize("era", ["modern", "replayed", "legacy"])
@pytest.mark.parametrize("tool", ["plain", "with_context", "after_progress"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_that_raises_anything_in_any_way_is_answered(era: str, tool: str, way: str) -> None:
    async with serving() as harbour:
        for what in RAISED_BY[way]:
            with written() as logs:
                exchange = await ask(harbour, era, "tools/call", {"name": tool, "arguments": {"way": way, "what": what}})
            assert_tool_error(exchange, logs, tool)
        await assert_alive(harbour, era)


@pytest.mark.parametrize("era", ["modern", "replayed", "legacy"])
@pytest.mark.parametrize("json_responses", [False, True])
async def test_a_sync_tool_that_raises_anything_in_its_thread_is_answered(era: str, json_responses: bool) -> None:
    async with serving(json_responses) as harbour:
        for what in RAISED_BY["sync"]:
            with written() as logs:
                exchange = await ask(harbour, era, "tools/call", {"name": "sync", "arguments": {"what": what}})
            assert_tool_error(exchange, logs, "sync")
        await assert_alive(harbour, era)


@pytest.mark.parametrize("era", ["modern", "replayed", "legacy"])
async def test_resources_prompts_and_completions_that_raise_anything_are_answered(era: str) -> None:
    async with serving() as harbour:
        for what in RAISED:
            for method, params in (
                ("resources/read", {"uri": f"raising://{what}"}),
                ("prompts/get", {"name": "prompt", "arguments": {"what": what}}),
                ("completion/complete", {"ref": {"type": "ref/prompt", "name": "prompt"}, "argument": {"name": "what", "value": what}}),
            ):
                with written() as logs:
                    exchange = await ask(harbour, era, method, params)
                assert_answered(exchange, logs)
        await assert_alive(harbour, era)


@pytest.mark.parametrize("era", ["modern", "replayed", "legacy"])
@pytest.mark.parametrize("what", RAISED)
async def test_a_middleware_of_the_teams_that_raises_anything_is_answered(era: str, what: str) -> None:
    async with serving(middleware=what) as harbour:
        with written() as logs:
            exchange = await ask(harbour, era, "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        assert_answered(exchange, logs)


async def test_the_log_names_the_tool_that_raised_an_exit() -> None:
    async with serving() as harbour:
        for tool in ("plain", "with_context"):
            with written() as logs:
                await ask(harbour, "modern", "tools/call", {"name": tool, "arguments": {"way": "frame", "what": "exit"}})
            [failure] = [entry for entry in logs if entry["event"] == "mcp.tool_failed" or entry["logger"].startswith("mcp.")]
            assert tool in (failure.get("tool"), *failure["event"].split("'")), failure


@pytest.mark.parametrize("era", ["modern", "replayed", "legacy"])
async def test_of_a_low_level_server_an_exit_is_answered_as_an_ordinary_exception_is(era: str) -> None:
    async with serving(server=low_level()) as harbour:
        answers = []
        for what in RAISED:
            with written() as logs:
                exchange = await ask(harbour, era, "tools/call", {"name": what})
            assert_answered(exchange, logs)
            answers.append(last(exchange))
        assert answers[1:] == answers[:-1]


async def test_a_task_that_a_tool_leaves_behind_cannot_end_the_loops_run() -> None:
    async with serving() as harbour:
        ended = asyncio.Event()

        async def leaves() -> None:
            try:
                raise SystemExit(3)
            finally:
                ended.set()

        task = asyncio.create_task(leaves())
        await ended.wait()
        with pytest.raises(RuntimeError, match="only a signal ends the process"):
            await task
        await assert_alive(harbour, "modern")
