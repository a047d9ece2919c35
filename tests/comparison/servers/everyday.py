"""An MCPServer with every kind of tool, resource and prompt; the tools here are those that talk to the client or the server."""

from __future__ import annotations

import asyncio
import datetime
import json
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.shared.exceptions import MCPError
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference
from pydantic import BaseModel

from . import Notes, shapes

HandlerContext = Context[Any, Any]


class Person(BaseModel):
    name: str


async def ask_who() -> Elicit[Person]:
    """What the user is asked before `greet` runs."""
    return Elicit("Who are you?", Person)


async def greet(greeting: str, person: Annotated[Person, Resolve(ask_who)]) -> str:
    """Greet whoever answers."""
    return f"{greeting} {person.name}"


async def progress(n: int, ctx: HandlerContext) -> str:
    """Report progress n times."""
    for step in range(n):
        await ctx.report_progress(step, n, f"step {step}")
    return "done"


async def progress_at_once(ctx: HandlerContext) -> str:
    """Report progress from five tasks at once."""
    async with anyio.create_task_group() as tasks:
        for step in range(5):
            tasks.start_soon(ctx.report_progress, step, 5)
    return "done"


async def progress_then_crash(ctx: HandlerContext) -> str:
    """Crash when the stream is already open."""
    await ctx.report_progress(1, 2)
    raise RuntimeError("internal detail")


async def progress_then_refuse(ctx: HandlerContext) -> str:
    """Answer with a protocol error when the stream is already open."""
    await ctx.report_progress(1, 2)
    raise MCPError(code=-32602, message="late", data=[None])


async def logs(n: int, ctx: HandlerContext) -> str:
    """Send log messages to the client."""
    for number in range(n):
        await ctx.info({"number": number, "none": None}, logger_name="tool")  # pyright: ignore[reportDeprecated]
    return "done"


def odd(kind: str) -> Any:
    """A value that encoders disagree about."""
    values = {
        "text": "é\u2028",
        "null": None,
        "nan": [float("nan"), float("inf")],
        "big": 2**70,
        "surrogate": "\ud800",
        "date": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        "tuple": (1, {2: 3}),
        "model": Person(name="Bo"),
    }
    return values[kind]


async def says_in_logs(kind: str, ctx: HandlerContext) -> str:
    """Log an odd value."""
    await ctx.info({"value": odd(kind)})  # pyright: ignore[reportDeprecated]
    return "done"


async def says_in_progress(kind: str, ctx: HandlerContext) -> str:
    """Report progress with an odd number or message."""
    value = odd(kind)
    number = value[0] if kind == "nan" else value if kind == "big" else 1
    await ctx.report_progress(number, None, value if isinstance(value, str) else None)
    return "done"


async def says_in_errors(kind: str, ctx: HandlerContext) -> str:
    """Answer with a protocol error that carries an odd value."""
    raise MCPError(code=-32001, message="odd", data={"value": odd(kind)})


async def who_calls(ctx: HandlerContext) -> dict[str, Any]:
    """Everything that a tool can know about the request."""
    request = ctx.request_context
    http = request.request
    assert http is not None
    client = ctx.session.client_params
    capabilities = ctx.client_capabilities
    return {
        "client": client.client_info.model_dump(exclude_none=True) if client else None,
        "capabilities": capabilities.model_dump(exclude_none=True) if capabilities else None,
        "request_id": ctx.request_id,
        "user_agent": ctx.headers.get("user-agent") if ctx.headers else None,
        "meta": dict(request.meta or {}),
        "version": ctx.protocol_version,
        "method": request.method,
        "body_bytes": len(await http.body()),
        "params": sorted(request.params or ()),
        "path": http.url.path,
        "client_host": http.client.host if http.client else None,
    }


async def lists_roots(ctx: HandlerContext) -> str:
    """Ask the client for its roots (which the modern era cannot)."""
    return str(await ctx.session.list_roots())  # pyright: ignore[reportDeprecated]


async def elicits(ctx: HandlerContext) -> str:
    """Ask the user in the middle of a call (which the modern era cannot)."""
    answer = await ctx.elicit("Who are you?", Person)
    return f"{answer.action} {answer.data.name}" if answer.action == "accept" else answer.action


async def samples(ctx: HandlerContext) -> str:
    """Ask the client's model."""
    from mcp_types import SamplingMessage, TextContent

    question = SamplingMessage(role="user", content=TextContent(type="text", text="Say something"))
    answer = await ctx.session.create_message([question], max_tokens=10, related_request_id=ctx.request_id)  # pyright: ignore[reportDeprecated]
    return canonical_text(answer.content)


def canonical_text(content: Any) -> str:
    """A content block as text."""
    return json.dumps(content.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True)


async def announces(ctx: HandlerContext) -> str:
    """Tell listeners of both eras that the tools changed."""
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "announced"


async def announces_a_resource(uri: str, ctx: HandlerContext) -> str:
    """Tell modern listeners that a resource changed."""
    await ctx.notify_resource_updated(uri)
    return "announced"


async def uses_the_exit_stack(ctx: HandlerContext) -> str:
    """Register something to be cleaned up with the connection."""
    ctx.session._connection.exit_stack.callback(lambda: None)
    return "registered"


@dataclass(frozen=True, slots=True)
class Lingering:
    """A tool that waits until it is released or cancelled, and says which."""

    notes: Notes

    async def linger(self) -> str:
        """Wait for the test."""
        self.notes.lingering.set()
        try:
            await self.notes.release.wait()
        except BaseException:
            self.notes.cancelled.set()
            raise
        return "released"

    async def outlive(self, ctx: HandlerContext) -> str:
        """Leave a task behind that reports progress when the call is over."""

        async def report() -> None:
            await self.notes.release.wait()
            await ctx.report_progress(1, 2)
            self.notes.lines.append("reported")

        await ctx.report_progress(0, 2)
        self.notes.tasks.append(asyncio.create_task(report()))
        return "over"

    async def linger_on_a_stream(self, ctx: HandlerContext) -> str:
        """Send something, then wait for the test."""
        await ctx.report_progress(1, 2)
        return await self.linger()


TALKING = (
    says_in_logs,
    says_in_progress,
    says_in_errors,
    greet, progress, progress_at_once, progress_then_crash, progress_then_refuse, logs, who_calls, lists_roots, elicits, samples, announces,
    announces_a_resource, uses_the_exit_stack,
)  # fmt: skip


async def complete(
    ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, context: CompletionContext | None
) -> Completion | None:
    """Complete what begins with p."""
    known = ["paris", "park"] if argument.name == "city" else []
    return Completion(values=[value for value in known if value.startswith(argument.value)], has_more=False)


def build(notes: Notes, name: str = "everyday") -> MCPServer[Any]:
    """The server, with its tools, resources, prompts and completions."""
    server: MCPServer[Any] = MCPServer(name, version="1.2.3", instructions="Compare.", log_level="CRITICAL")
    lingering = Lingering(notes)
    for tool in (*shapes.TOOLS, *TALKING, lingering.linger, lingering.linger_on_a_stream, lingering.outlive):
        server.add_tool(tool)
    server.add_tool(shapes.block, structured_output=True)
    server.add_tool(shapes.image_block, structured_output=True)
    server.add_tool(shapes.labelled, name="labelled_as_text", structured_output=False)
    server.add_tool(shapes.add, name="näme", description="A name beyond ASCII.")
    _add_resources(server)
    _add_prompts(server)
    server.completion()(complete)
    return server


def _add_resources(server: MCPServer[Any]) -> None:
    @server.resource("res://text", description="A text.")
    def text() -> str:
        return "hello é"

    @server.resource("res://bytes", mime_type="application/octet-stream")
    def raw() -> bytes:
        return b"\x00\xff"

    @server.resource("res://broken")
    def broken() -> str:
        raise RuntimeError("internal detail")

    @server.resource("res://items/{item}")
    async def item(item: str) -> str:
        return f"item {item}"


def _add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt(description="Say hello.")
    def hello(city: str) -> str:
        return f"hello {city}"

    @server.prompt()
    def broken_prompt() -> str:
        raise RuntimeError("internal detail")
