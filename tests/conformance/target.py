"""The server that the suite talks to: fixed tools, resources and prompts under the names that its scenarios ask for."""

from __future__ import annotations

import json
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, Image, MCPServer, UserMessage
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    Completion,
    EmbeddedResource,
    EmptyResult,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)

from tests.conformance import target_questions, target_tools
from tests.conformance.target_tools import PIXEL

Ctx = ServerRequestContext[Any, Any]

SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""A schema with the keywords that a careless server loses on the way to `tools/list`."""


def json_schema_2020_12_tool() -> str:
    """A tool whose input schema is more than a Python signature can say."""
    return "called"


def _with_its_own_schema() -> Tool:
    tool = Tool.from_function(json_schema_2020_12_tool)
    tool.parameters = SCHEMA_2020_12
    return tool


server: MCPServer[Any] = MCPServer(
    "moorage-conformance", version="1.0.0", instructions="A target for the conformance suite.", tools=[_with_its_own_schema()]
)
for function in (*target_tools.TOOLS, *target_questions.TOOLS):
    server.add_tool(function)
server.add_tool(target_tools.test_multiple_content_types, structured_output=False)


# Changes that the suite wants to see announced


@server.tool()
async def test_trigger_tool_change(ctx: Context[Any, Any]) -> str:
    """Announce that the tools changed."""
    await ctx.notify_tools_changed()
    return "announced"


@server.tool()
async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> str:
    """Announce that the prompts changed."""
    await ctx.notify_prompts_changed()
    return "announced"


# Resources


@server.resource("test://static-text", mime_type="text/plain", description="A text.")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png", description="A picture of one pixel.")
def static_binary() -> bytes:
    return PIXEL


@server.resource("test://watched-resource", mime_type="text/plain", description="A resource to subscribe to.")
def watched() -> str:
    return "Nothing ever changes here."


@server.resource("test://template/{id}/data", mime_type="application/json", description="Data by id.")
def data(id: str) -> str:  # noqa: A002 - the template's parameter is called so
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


# Prompts


@server.prompt(description="A prompt without arguments.")
def test_simple_prompt() -> str:
    return "This is a simple prompt for testing."


@server.prompt(description="A prompt with two arguments.")
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt(description="A prompt that carries a resource.")
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite names the argument
    resource = TextResourceContents(uri=resourceUri, mime_type="text/plain", text="Embedded resource content for testing.")
    return [
        UserMessage(EmbeddedResource(type="resource", resource=resource)),
        UserMessage(TextContent(type="text", text="Please process the embedded resource above.")),
    ]


@server.prompt(description="A prompt that carries a picture.")
def test_prompt_with_image() -> list[UserMessage]:
    return [UserMessage(Image(data=PIXEL, format="png")), UserMessage("Please analyze the image above.")]


server.prompt(description="A prompt that asks the user first.")(target_questions.test_input_required_result_prompt)


# What MCPServer leaves to whoever wants it


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=[word for word in ("paris", "park", "party", "test") if word.startswith(argument.value)], has_more=False)


async def set_level(ctx: Ctx, params: SetLevelRequestParams) -> EmptyResult:
    """Accept any level: the tools here log at one level only."""
    return EmptyResult()


async def subscribe(ctx: Ctx, params: SubscribeRequestParams) -> EmptyResult:
    """Accept: nothing ever changes."""
    return EmptyResult()


async def unsubscribe(ctx: Ctx, params: UnsubscribeRequestParams) -> EmptyResult:
    """Accept: nothing ever changes."""
    return EmptyResult()


_low_level = server._lowlevel_server
_low_level.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
_low_level.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
_low_level.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
