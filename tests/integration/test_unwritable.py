"""Whatever a tool puts into what its caller is sent, the caller gets an answer under its id, and the next call is served.

Every kind of output, with every value that JSON has no form for, in both eras, alone and with a store, on the hot path, through the SDK's
kernel and through the SDK's own endpoint.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolRequestParams, CallToolResult, TextContent
from pydantic import BaseModel, field_serializer

from moorage.app import create_app
from moorage.settings import Settings
from tests.comparison.wire import Exchange, lifespan
from tests.services import Redis, sealing_key
from tests.unit.edge.conftest import META, Harbour, header

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def circular() -> Any:
    value: dict[str, Any] = {}
    value["again"] = [value, value]
    return value


class Leaking(BaseModel):
    """Its serializer fails with what a caller told it."""

    it: int = 1

    @field_serializer("it")
    def told(self, it: int) -> int:
        raise ValueError("c4n4ry")


BAD: dict[str, Callable[[], Any]] = {
    "surrogate": lambda: "half \ud83d and pair \ud83d\ude00",
    "surrogate key": lambda: {"\ud800": 1},
    "depth 240": lambda: nested(240),
    "depth 260": lambda: nested(260),
    "depth 300": lambda: nested(300),
    "depth 5000": lambda: nested(5000),
    "circular": circular,
    "bytes": lambda: b"\xff\xfe",
    "set": lambda: {"a", 1},
    "object": object,
    "serializer that fails": Leaking,
    "huge integer": lambda: 10**5000,
    "keys that are not text": lambda: {1: 2, None: 3, (4, 5): 6},
    "NaN": lambda: float("nan"),
}


class Ship(BaseModel):
    """What is asked for."""

    name: str


def as_text(value: Any) -> str:
    """The value where only a text can stand."""
    return value if isinstance(value, str) else "\udfff"


def high_level() -> MCPServer[Any]:
    server = MCPServer("harbour", version="1")

    @server.tool()
    async def quick() -> str:
        return "done"

    @server.tool(structured_output=False)
    async def text(bad: str) -> str:
        return as_text(BAD[bad]())

    @server.tool(structured_output=False)
    async def content(bad: str) -> Any:
        return BAD[bad]()

    @server.tool()
    async def structured(bad: str) -> dict[str, Any]:
        return {"value": BAD[bad]()}

    @server.tool()
    async def whole(bad: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="x")], structured_content={"value": BAD[bad]()})

    @server.tool()
    async def meta(bad: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="x")], _meta={"value": BAD[bad]()})

    @server.tool()
    async def progress(bad: str, ctx: Context[Any, Any]) -> str:
        await ctx.report_progress(1, 2, BAD[bad]())
        return "done"

    @server.tool()
    async def logged(bad: str, ctx: Context[Any, Any]) -> str:
        await ctx.log("info", BAD[bad]())
        return "done"

    @server.tool()
    async def updated(bad: str, ctx: Context[Any, Any]) -> str:
        await ctx.request_context.session.send_resource_updated(as_text(BAD[bad]()))
        return "done"

    @server.tool()
    async def asks(bad: str, ctx: Context[Any, Any]) -> str:
        with anyio.move_on_after(0.05):
            await ctx.elicit(as_text(BAD[bad]()), Ship)
        return "done"

    @server.tool()
    async def message(bad: str) -> str:
        raise MCPError(code=-32050, message=as_text(BAD[bad]()))

    @server.tool()
    async def data(bad: str) -> str:
        raise MCPError(code=-32050, message="told", data={"value": BAD[bad]()})

    @server.tool()
    async def told_before(bad: str, ctx: Context[Any, Any]) -> str:
        await ctx.report_progress(1, 2)
        raise MCPError(code=-32050, message="told", data=BAD[bad]())

    @server.tool()
    async def raises(bad: str) -> str:
        raise ValueError(BAD[bad]())

    @server.resource("bad://{bad}")
    async def resource(bad: str) -> Any:
        return BAD[bad.replace("_", " ")]()

    @server.prompt()
    async def prompt(bad: str) -> Any:
        return as_text(BAD[bad]())

    return server


def low_level() -> Server[Any]:
    async def call(ctx: Any, params: CallToolRequestParams) -> Any:
        bad: str = (params.arguments or {}).get("bad", "surrogate")
        match params.name:
            case "structured":
                return CallToolResult(content=[], structured_content={"value": BAD[bad]()})
            case "text":
                return CallToolResult(content=[TextContent(type="text", text=as_text(BAD[bad]()))])
            case "progress":
                await ctx.session.report_progress(1, 2, BAD[bad]())
            case "data":
                raise MCPError(code=-32050, message="told", data=BAD[bad]())
            case "message":
                raise MCPError(code=-32050, message=as_text(BAD[bad]()))
            case _:
                pass
        return CallToolResult(content=[TextContent(type="text", text="done")])

    return Server("low", on_call_tool=call)


OUTPUTS = (
    "text",
    "content",
    "structured",
    "whole",
    "meta",
    "progress",
    "logged",
    "updated",
    "asks",
    "message",
    "data",
    "told_before",
    "raises",
    "resource",
    "prompt",
)
LOW_OUTPUTS = ("text", "structured", "progress", "message", "data")


@pytest.fixture(scope="module")
def store() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(server: Any, store: Redis | None = None, **http: Any) -> AsyncIterator[Harbour]:
    sections: dict[str, Any] = {"admin": {"port": 0}, "logs": {"level": "error"}, "http": http}
    if store is not None:
        sections |= {
            "store": {"url": store.url},
            "relay": {"host": "127.0.0.1", "port": 0},
            "security": {"sealing_keys": sealing_key()},
        }
    harbour = Harbour(create_app(Settings.model_validate(sections), server))
    async with lifespan(harbour.app):
        yield harbour


def request_of(output: str, bad: str) -> tuple[str, dict[str, Any]]:
    match output:
        case "resource":
            return "resources/read", {"uri": f"bad://{bad.replace(' ', '_')}"}
        case "prompt":
            return "prompts/get", {"name": "prompt", "arguments": {"bad": bad}}
        case _:
            return "tools/call", {"name": output, "arguments": {"bad": bad}}


def strictly(exchange: Exchange) -> list[dict[str, Any]]:
    """Every message of an answer, by a reader that takes RFC 8259 alone."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    body = exchange.body.decode()
    events = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
    lines = [body] if body.startswith("{") else events
    messages = [json.loads(line, parse_constant=refuse) for line in lines]
    json.dumps(messages, ensure_ascii=False).encode()  # half a surrogate pair would raise
    return messages


def judged(exchange: Exchange, request_id: int, output: str, bad: str) -> None:
    messages = strictly(exchange)
    assert messages, (output, bad, exchange.body)
    answer = messages[-1]
    assert answer["id"] == request_id, (output, bad, answer)
    assert ("result" in answer) != ("error" in answer)
    assert b"c4n4ry" not in exchange.body, (output, bad, answer)
    assert not [word for word in (b"Unable to serialize", b"codec", b"Error calling") if word in exchange.body], (output, bad, answer)
    assert exchange.status == 200 or exchange.status in (400, 404), exchange.status
    if output in ("data", "told_before"):
        assert answer["error"]["code"] == -32050, "what the tool said went wrong is still said"
        assert answer["error"]["message"] == "told"
    if bad == "surrogate" and output in ("text", "whole", "prompt"):
        assert "\ufffd" in json.dumps(answer.get("result"), ensure_ascii=False), (output, bad, answer)
        assert "pair \U0001f600" in json.dumps(answer["result"], ensure_ascii=False)
    if (bad.startswith("depth 3") or bad in ("circular", "surrogate key")) and output in ("structured", "whole"):
        said = answer["error"]["message"] if "error" in answer else answer["result"]["content"][0]["text"]
        assert "Internal server error" not in said, (output, bad)


async def modern(harbour: Harbour, output: str, bad: str, request_id: int) -> Exchange:
    method, params = request_of(output, bad)
    routing = {"mcp-protocol-version": "2026-07-28", "mcp-method": method, "mcp-name": str(params.get("name") or params["uri"])}
    meta = META | {"io.modelcontextprotocol/logLevel": "debug"} if output == "logged" else META
    return await harbour.ask("POST", routing, {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {"_meta": meta, **params}})


@pytest.mark.parametrize("streams", [True, False], ids=["streams", "JSON only"])
@pytest.mark.parametrize("kept", [False, True], ids=["alone", "store"])
async def test_every_bad_value_in_every_output_is_an_answer_in_both_eras(store: Redis, kept: bool, streams: bool) -> None:
    async with serving(high_level(), store if kept else None, json_responses=not streams) as harbour:
        session = header(await harbour.session(), "mcp-session-id") or ""
        number = 0
        for output in OUTPUTS:
            for bad in BAD:
                number += 1
                judged(await modern(harbour, output, bad, number), number, output, bad)
                method, params = request_of(output, bad)
                message = {"id": number, "method": method, "params": {**params, "_meta": {"progressToken": number}}}
                exchange = harbour.legacy(session, message)
                await exchange.finished()
                judged(exchange, number, output, bad)
                answer = harbour.legacy(session, {"id": "next", "method": "tools/call", "params": {"name": "quick"}})
                await answer.finished()
                assert strictly(answer)[-1]["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("streams", [True, False], ids=["streams", "JSON only"])
async def test_so_it_is_with_a_low_level_server_whose_calls_the_sdk_s_own_endpoint_serves(streams: bool) -> None:
    async with serving(low_level(), json_responses=not streams) as harbour:
        session = header(await harbour.session(), "mcp-session-id") or ""
        for number, (output, bad) in enumerate((output, bad) for output in LOW_OUTPUTS for bad in BAD):
            exchange = await modern(harbour, output, bad, number)
            answer = strictly(exchange)[-1]
            assert answer["id"] == number, (output, bad, answer)
            assert ("result" in answer) != ("error" in answer)
            _, params = request_of(output, bad)
            legacy = harbour.legacy(
                session, {"id": number, "method": "tools/call", "params": {**params, "_meta": {"progressToken": number}}}
            )
            await legacy.finished()
            judged(legacy, number, output, bad)
            if bad == "surrogate" and output == "structured":
                assert "\ufffd" in json.dumps(answer.get("result"), ensure_ascii=False), (output, bad, answer)


LARGE: dict[str, tuple[Callable[[], Any], str | None]] = {
    "a list of texts": (lambda: ["x"] * 10_001, "at most 10000 of a list become content"),
    "a list of as many": (lambda: ["x"] * 10_000, None),
    "lists in a list": (lambda: [[1] * 2001] * 5, "at most 10000 of a list become content"),
    "a list of a million": (lambda: list(range(1_000_000)), "at most 50000 are written"),
    "an object": (lambda: {"it": list(range(50_001))}, "at most 50000 are written"),
    "an object of as many": (lambda: {"it": list(range(49_999))}, None),
    "one list, again and again": (lambda: doubled(40), "at most 50000 are written"),
    "a result": (lambda: CallToolResult(content=[], structured_content={"it": [1] * 50_001}), "at most 50000 are written"),
}


def doubled(times: int) -> Any:
    value: Any = {"it": 1}
    for _ in range(times):
        value = {"it": [value, value]}
    return value


@pytest.mark.parametrize("large", LARGE)
async def test_a_result_of_too_many_values_is_its_call_s_own_error_in_words_in_both_eras(large: str) -> None:
    made, words = LARGE[large]
    server = MCPServer[Any]("harbour", version="1")

    @server.tool(structured_output=False)
    async def plain() -> Any:
        return made()

    @server.tool(structured_output=False)
    def thread() -> Any:
        return made()

    @server.tool(structured_output=False)
    async def context(ctx: Context[Any, Any]) -> Any:
        return made()

    async with serving(server) as harbour:
        session = header(await harbour.session(), "mcp-session-id") or ""
        for number, tool in enumerate(("plain", "thread", "context")):
            modernly = await modern(harbour, tool, "", number)
            legacy = harbour.legacy(session, {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
            await legacy.finished()
            for exchange in (modernly, legacy):
                result = strictly(exchange)[-1]["result"]
                assert result.get("isError", False) is (words is not None), tool
                assert words is None or words in result["content"][0]["text"], tool
