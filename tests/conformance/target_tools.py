"""The target's tools that give content, report progress, or ask the client in the middle of a call (the session era's way)."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any

from mcp.server.mcpserver import Audio, Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import EmbeddedResource, SamplingMessage, TextContent, TextResourceContents
from pydantic import Field

Ctx = Context[Any, Any]

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==")
SILENCE = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
MISSING_CAPABILITY = -32021
PAUSE_SECONDS = 0.05


def test_simple_text() -> str:
    """Give a text."""
    return "This is a simple text response for testing."


def test_image_content() -> Image:
    """Give a picture."""
    return Image(data=PIXEL, format="png")


def test_audio_content() -> Audio:
    """Give a sound."""
    return Audio(data=SILENCE, format="wav")


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def test_embedded_resource() -> list[EmbeddedResource]:
    """Give a resource."""
    return [_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


def test_multiple_content_types() -> list[Any]:
    """Give a text, a picture and a resource."""
    resource = _embedded("test://mixed-content-resource", "application/json", json.dumps({"test": "data", "value": 123}))
    return [TextContent(type="text", text="Multiple content types test:"), Image(data=PIXEL, format="png"), resource]


def test_error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


def test_headers(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Take an argument that clients mirror into a header."""
    return region


def test_missing_capability() -> str:
    """Refuse: this needs sampling, which the suite never declares for it."""
    raise MCPError(MISSING_CAPABILITY, "The client did not declare sampling", {"requiredCapabilities": {"sampling": {}}})


async def test_tool_with_logging(ctx: Ctx) -> str:
    """Log three times."""
    for step in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(step)  # pyright: ignore[reportDeprecated]
        await asyncio.sleep(PAUSE_SECONDS)
    return "logged"


async def test_logging_tool(ctx: Ctx) -> str:
    """Log once, for those who want it."""
    await ctx.info("a log message")  # pyright: ignore[reportDeprecated]
    return "logged"


async def test_tool_with_progress(ctx: Ctx) -> str:
    """Report progress three times."""
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100)
        await asyncio.sleep(PAUSE_SECONDS)
    return "done"


async def test_reconnection(ctx: Ctx) -> str:
    """End the stream in the middle of the call, so that the client comes back for the result."""
    await ctx.info("a message that begins a stream")  # pyright: ignore[reportDeprecated]
    await ctx.close_sse_stream()
    await asyncio.sleep(PAUSE_SECONDS)
    return "reconnected"


async def test_streaming_elicitation(ctx: Ctx) -> str:
    """Stream; nothing but notifications and the result may be on the stream."""
    await ctx.report_progress(1, 2)
    return "streamed"


async def test_sampling(prompt: str, ctx: Ctx) -> str:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message(  # pyright: ignore[reportDeprecated]
        [message], max_tokens=100, related_request_id=ctx.request_id
    )
    return f"LLM response: {answer.content.text if isinstance(answer.content, TextContent) else answer.content.type}"


async def _elicit(ctx: Ctx, message: str, properties: dict[str, Any], required: list[str]) -> str:
    schema = {"type": "object", "properties": properties, "required": required}
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


async def test_elicitation(message: str, ctx: Ctx) -> str:
    """Ask the user for a name and an address."""
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return "User response: " + await _elicit(ctx, message, properties, ["username", "email"])


async def test_elicitation_sep1034_defaults(ctx: Ctx) -> str:
    """Ask with a default for each type."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return "Elicitation completed: " + await _elicit(ctx, "Please check the defaults", properties, [])


async def test_elicitation_sep1330_enums(ctx: Ctx) -> str:
    """Ask with each form of an enumeration."""
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)]
    choices = [{"const": f"value{n}", "title": f"{word} Choice"} for n, word in enumerate(("First", "Second", "Third"), 1)]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": choices}},
    }
    return "Elicitation completed: " + await _elicit(ctx, "Please choose", properties, [])


TOOLS = (
    test_simple_text, test_image_content, test_audio_content, test_embedded_resource, test_error_handling,
    test_headers, test_missing_capability, test_tool_with_logging, test_logging_tool, test_tool_with_progress, test_reconnection,
    test_streaming_elicitation, test_sampling, test_elicitation, test_elicitation_sep1034_defaults, test_elicitation_sep1330_enums,
)  # fmt: skip
