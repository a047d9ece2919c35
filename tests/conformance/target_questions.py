"""The target's tools and prompt that ask the user between two calls (the modern era's way): `input_required`, then the answer."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

Ctx = Context[Any, Any]


def _form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(question: str, max_tokens: int = 100) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=question))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def _ask(requests: dict[str, InputRequest], state: str | None = None) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def _answer(ctx: Ctx, key: str) -> Any:
    return (ctx.input_responses or {}).get(key)


def _field(ctx: Ctx, key: str, name: str) -> Any:
    """What the user wrote into a field of a form; None as long as the form was not accepted."""
    answer = _answer(ctx, key)
    return (answer.content or {}).get(name) if isinstance(answer, ElicitResult) and answer.action == "accept" else None


async def test_input_required_result_elicitation(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for a name, and greet."""
    name = _field(ctx, "user_name", "name")
    return f"Hello, {name}!" if name else _ask({"user_name": _form("What is your name?", "name")})


async def test_input_required_result_sampling(ctx: Ctx) -> str | InputRequiredResult:
    """Ask the client's model."""
    answer = _answer(ctx, "capital_question")
    if isinstance(answer, CreateMessageResult) and isinstance(answer.content, TextContent):
        return answer.content.text
    return _ask({"capital_question": _sample("What is the capital of France?")})


async def test_input_required_result_list_roots(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for the client's roots."""
    answer = _answer(ctx, "client_roots")
    if isinstance(answer, ListRootsResult):
        return "Roots: " + ", ".join(str(root.uri) for root in answer.roots)
    return _ask({"client_roots": ListRootsRequest()})


async def test_input_required_result_request_state(ctx: Ctx) -> str | InputRequiredResult:
    """Ask, and find one's own state again."""
    if ctx.request_state == "asked" and _field(ctx, "confirm", "ok") is not None:
        return "state-ok"
    return _ask({"confirm": _form("Please confirm", "ok", "boolean")}, "asked")


async def test_input_required_result_tampered_state(ctx: Ctx) -> str | InputRequiredResult:
    """Ask with a state that nobody may change on its way."""
    return await test_input_required_result_request_state(ctx)


async def test_input_required_result_multiple_inputs(ctx: Ctx) -> str | InputRequiredResult:
    """Ask three things at once."""
    requests: dict[str, InputRequest] = {
        "user_name": _form("What is your name?", "name"),
        "greeting": _sample("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    if all(_answer(ctx, key) is not None for key in requests):
        return f"Thank you, {_field(ctx, 'user_name', 'name')}"
    return _ask(requests, "three")


async def test_input_required_result_multi_round(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for a name, then for a colour; the state carries the name along."""
    state = ctx.request_state or ""
    if (colour := _field(ctx, "step2", "color")) is not None and state.startswith("name:"):
        return f"{state.removeprefix('name:')} likes {colour}"
    if (name := _field(ctx, "step1", "name")) is not None:
        return _ask({"step2": _form("What is your favorite color?", "color")}, f"name:{name}")
    return _ask({"step1": _form("What is your name?", "name")}, "start")


async def test_input_required_result_capabilities(ctx: Ctx) -> str | InputRequiredResult:
    """Ask only what the client can answer."""
    capabilities = ctx.client_capabilities
    requests: dict[str, InputRequest] = {}
    if capabilities and capabilities.sampling is not None:
        requests["sample"] = _sample("Say something")
    if capabilities and capabilities.elicitation is not None:
        requests["form"] = _form("What is your name?", "name")
    return _ask(requests) if requests and not ctx.input_responses else "Nothing to ask"


async def test_input_required_result_prompt(ctx: Ctx) -> str | InputRequiredResult:
    """Ask what the prompt is about."""
    context = _field(ctx, "user_context", "context")
    return f"Use this context: {context}" if context else _ask({"user_context": _form("What context should the prompt use?", "context")})


TOOLS = (
    test_input_required_result_elicitation, test_input_required_result_sampling, test_input_required_result_list_roots,
    test_input_required_result_request_state, test_input_required_result_tampered_state, test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round, test_input_required_result_capabilities,
)  # fmt: skip
