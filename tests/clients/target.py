"""The server that the clients talk to: one tool for each thing that a client has to be able to do with it."""

from __future__ import annotations

import os
from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.server.mcpserver.resolve import Sample
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageResult, SamplingMessage, TextContent, ToolAnnotations
from pydantic import BaseModel

from tests.clients import gates

Ctx = Context[Any, Any]


class Person(BaseModel):
    """What the user is asked for."""

    name: str


mcp: MCPServer[Any] = MCPServer("moorage-clients", version="1.0.0")


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool()
async def where() -> str:
    """Name the process that this runs in."""
    return str(os.getpid())


@mcp.tool()
async def count(to: int, ctx: Ctx) -> str:
    """Report progress from 1 on."""
    for step in range(1, to + 1):
        await ctx.report_progress(step, to, f"step {step}")
    return f"counted to {to}"


def _ask_who() -> Elicit[Person]:
    return Elicit("Who is there?", Person)


@mcp.tool()
async def greet(person: Annotated[Person, Resolve(_ask_who)]) -> str:
    """Ask the user who is there."""
    return f"Hello, {person.name}"


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
async def recognise(person: Annotated[Person, Resolve(_ask_who)]) -> str:
    """Ask the user who is there; may run again."""
    return f"It is {person.name}"


def _ask_model(question: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text=question))], max_tokens=100)


@mcp.tool()
async def think(question: str, answer: Annotated[CreateMessageResult, Resolve(_ask_model)]) -> str:
    """Ask the client's model."""
    text = answer.content.text if isinstance(answer.content, TextContent) else answer.content
    return f"{question} {text}"


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
async def look(gate: str, ctx: Ctx) -> str:
    """Wait at a gate; may run again. The first progress names the process."""
    return await _pass(gate, ctx)


@mcp.tool()
async def change(gate: str, ctx: Ctx) -> str:
    """Wait at a gate; nobody can tell whether it may run again."""
    return await _pass(gate, ctx)


async def _pass(gate: str, ctx: Ctx) -> str:
    await ctx.report_progress(1, 2, str(os.getpid()))
    await gates.passed(gate)
    await ctx.report_progress(2, 2, str(os.getpid()))
    return f"passed {gate}"


@mcp.tool()
async def refuse(ctx: Ctx) -> str:
    """Say something, and then refuse in the protocol's own way."""
    await ctx.report_progress(1, 2)
    raise MCPError(code=-32050, message="Refused")


@mcp.tool()
async def announce(ctx: Ctx) -> str:
    """Tell everybody that the tools changed."""
    await ctx.notify_tools_changed()
    return "announced"
