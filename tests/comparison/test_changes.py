"""A server that changes while it serves: what a fast endpoint remembers about it must not outlive the change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context, Extension, MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolRequestParams, CallToolResult, TextContent

from .answer import Answer, disagreements, read
from .case import call, case, rpc
from .servers import Built, Notes, build
from .servers.shapes import add, swapped, texts
from .stage import Factory, by_moorage, by_the_sdk
from .wire import lifespan, play

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

Change = Callable[[MCPServer[Any]], None]


async def veto(ctx: Any, call_next: Any) -> Any:
    """Middleware that answers by itself."""
    return CallToolResult(content=[TextContent(type="text", text="vetoed")]) if ctx.method == "tools/call" else await call_next(ctx)


async def another_handler(ctx: Any, params: CallToolRequestParams) -> CallToolResult:
    """Another way to serve `tools/call`."""
    return CallToolResult(content=[TextContent(type="text", text=f"another {params.name}")])


async def another_call_tool(name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None) -> CallToolResult:
    """What a subclass may override."""
    return CallToolResult(content=[TextContent(type="text", text=f"overridden {name}")])


def appends_middleware(server: MCPServer[Any]) -> None:
    server.middleware.append(veto)


def replaces_the_handler(server: MCPServer[Any]) -> None:
    server._lowlevel_server.add_request_handler("tools/call", CallToolRequestParams, another_handler)


def overrides_call_tool(server: MCPServer[Any]) -> None:
    server.call_tool = another_call_tool  # pyright: ignore[reportAttributeAccessIssue]


def removes_the_tool(server: MCPServer[Any]) -> None:
    server.remove_tool("add")


def replaces_the_tool(server: MCPServer[Any]) -> None:
    server.remove_tool("add")
    server.add_tool(swapped, name="add")


def replaces_the_tool_by_one_without_arguments(server: MCPServer[Any]) -> None:
    server.remove_tool("add")
    server.add_tool(texts, name="add")


def adds_a_tool(server: MCPServer[Any]) -> None:
    server.add_tool(texts, name="added")


def mirrors_an_argument(server: MCPServer[Any]) -> None:
    tool = server._tool_manager.get_tool("add")
    assert tool is not None
    tool.parameters = {**tool.parameters, "properties": {"a": {"type": "integer", "x-mcp-header": "A"}, "b": {"type": "integer"}}}


def adds_a_prompt(server: MCPServer[Any]) -> None:
    server.prompt()(lambda_prompt)


def lambda_prompt() -> str:
    return "added"


CHANGES: tuple[Change, ...] = (
    appends_middleware, replaces_the_handler, overrides_call_tool, removes_the_tool, replaces_the_tool,
    replaces_the_tool_by_one_without_arguments, adds_a_tool, mirrors_an_argument, adds_a_prompt,
)  # fmt: skip

ASKED = (
    case("", call("add", a=1, b=2)),
    case("", call("add", p={"x": 1, "y": 2})),
    case("", call("added")),
    case("", call("add", a=1, b=2), headers={"mcp-param-a": "1"}),
    case("", rpc("tools/list")),
    case("", rpc("prompts/list")),
)


async def _before_and_after(make: Factory, json_response: bool, change: Change) -> list[Answer]:
    built: Built = build("everyday")
    assert isinstance(built.server, MCPServer)
    app = make(built, json_response)
    async with lifespan(app):
        answers = [read(await play(app, each.request)) for each in ASKED]
        change(built.server)
        return answers + [read(await play(app, each.request)) for each in ASKED * 2]


class Overriding(MCPServer[Any]):
    """A subclass with its own way to call a tool."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None) -> CallToolResult:
        return await another_call_tool(name, arguments, context)


class Observing(Tool):
    """A tool with its own way to run, which wants to know the request."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        assert arguments == {"a": 1, "b": 2}
        return CallToolResult(content=[TextContent(type="text", text=f"request {context.request_id}")])


class Intercepting(Extension):
    """An extension that stands before every tool."""

    identifier = "com.example/intercepting"

    async def intercept_tool_call(self, params: CallToolRequestParams, ctx: Any, call_next: Any) -> Any:
        return CallToolResult(content=[TextContent(type="text", text=f"intercepted {params.name}")])


def _overriding() -> MCPServer[Any]:
    server = Overriding("built")
    server.add_tool(add)
    return server


def _observing() -> MCPServer[Any]:
    return MCPServer("built", tools=[Observing(**dict(Tool.from_function(add)))])


def _intercepting() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("built", extensions=[Intercepting()])
    server.add_tool(add)
    return server


def _hinting() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("built", cache_hints={"tools/list": CacheHint(ttl_ms=5_000, scope="public")})
    server.add_tool(add)
    return server


def _without_listening() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("built", subscriptions=False)
    server.add_tool(add)
    return server


@pytest.mark.parametrize("construct", [_overriding, _observing, _intercepting, _hinting, _without_listening])
async def test_the_endpoint_serves_as_the_sdk_does_a_server_that_is(construct: Callable[[], MCPServer[Any]]) -> None:
    answers: list[list[Answer]] = []
    for make in (by_the_sdk, by_moorage):
        app = make(Built(construct(), Notes()), False)
        async with lifespan(app):
            answers.append([read(await play(app, each.request)) for each in (*ASKED, case("", rpc("server/discover")))])
    lines = [line for pair in zip(*answers, strict=True) for line in disagreements(*pair)]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("json_response", [False, True], ids=["event streams", "JSON only"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_the_endpoint_follows_a_server_that(change: Change, json_response: bool) -> None:
    theirs = await _before_and_after(by_the_sdk, json_response, change)
    ours = await _before_and_after(by_moorage, json_response, change)
    lines = [line for pair in zip(theirs, ours, strict=True) for line in disagreements(*pair)]
    assert not lines, "\n".join(lines)
    assert theirs[: len(ASKED)] != theirs[len(ASKED) : 2 * len(ASKED)], "nothing changed"
