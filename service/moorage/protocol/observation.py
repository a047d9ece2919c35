"""Where the SDK's message chain meets our telemetry: one operation per message, whichever way it came.

`Observed` is the outermost middleware of the SDK's server, in the place of the SDK's own tracing. It opens the operation for
every message that travels through the SDK's kernel; the hot path, which does not, opens its own by the same `begin`. A message
is never observed twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, InputRequiredResult
from mcp_types import methods as spec
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from moorage.protocol import sdk
from moorage.protocol.boundary import answerable
from moorage.protocol.encoding import unwritable
from moorage.protocol.exchange import REFUSAL_KEY, SCOPE_KEY, HttpExchange
from moorage.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from moorage.telemetry.operation import Operation, Outcome

INTERNAL_ERROR: Final = -32603
_OTHER: Final = "_OTHER"
MAX_LEARNED: Final = 1024
MAX_NAME_CHARACTERS: Final = 128
"""Of a tool or prompt in labels and span names, where longer ones are cut. Source: MCP 2025-11-25, server/tools, "Tool Names"."""

_MAX_QUOTED: Final = 100


_PYDANTIC_REFUSES: Final = ("Circular reference detected", "Maximum serialization depth exceeded")
"""What begins the plain `ValueError`s of `model_dump`."""


class Names:
    """Which names a client sent may become span names and labels: those that the server has registered.

    An `MCPServer` is asked. A low-level server keeps no registry, so there a name counts once a request for it succeeded; the number of
    such names is bounded, and so is the length of each.
    """

    def __init__(self, target: MCPServer[Any] | Server[Any]) -> None:
        self._registry = target if isinstance(target, MCPServer) else None
        self._learned: set[tuple[str, str]] = set()  # no memo: each name is a time series for good, so what is full learns no more

    def known(self, method: str, name: str) -> bool:
        """Whether this tool or prompt exists."""
        if self._registry is None:
            return (method, name[:MAX_NAME_CHARACTERS]) in self._learned
        if method == "tools/call":
            return sdk.registered_tool(self._registry, name) is not None
        return sdk.registered_prompt(self._registry, name)

    def learn(self, method: str, name: str) -> None:
        """A request for this name has succeeded."""
        if self._registry is None and len(self._learned) < MAX_LEARNED:
            self._learned.add((method, name[:MAX_NAME_CHARACTERS]))


class Observed(ServerMiddleware[Any]):
    """The outermost middleware: opens and closes the operation, and puts errors into the protocol's words."""

    def __init__(self, target: MCPServer[Any] | Server[Any], server: Server[Any]) -> None:
        self._names = Names(target)
        self._server = server

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Observe one message; a nested message of the same exchange (the SDK's own look-ups) passes through."""
        http = _exchange_of(ctx)
        params = cast("Mapping[str, Any]", ctx.params or {})
        if http is None or http.operation is not None:
            try:
                return await call_next(ctx)
            except BaseException as error:
                raise answerable(error, ctx.method, _named(params)) from error.__cause__
        operation = self.begin(http, ctx.method, params, ctx.request_id, ctx.protocol_version)
        try:
            result = await call_next(ctx)
        except BaseException as error:
            known = self.finish_raised(operation, ctx.method, params, error)
            if isinstance(known, RefusedError):
                http.scope[REFUSAL_KEY] = known.refusal
            if known is error:
                raise
            raise known from error
        else:
            outcome = outcome_of(result)
            if outcome != "tool_error":  # a server that answers every unknown name with an error result has none of these tools
                self._learn(ctx.method, params)
            operation.finish(outcome)
            return result
        finally:
            http.operation = None

    def begin(
        self, http: HttpExchange, method: str, params: Mapping[str, Any], request_id: str | int | None, protocol_version: str
    ) -> Operation:
        """Open the operation of one message and mark its exchange as observed."""
        name = params.get("name")
        is_named = method in {"tools/call", "prompts/get"} and isinstance(name, str) and self._names.known(method, name)
        target = cast("str", name)[:MAX_NAME_CHARACTERS] if is_named else None
        uri = params.get("uri")
        operation = http.observed.message(
            method=method if self._is_method(method) else _OTHER,
            target=target,
            uri=uri if isinstance(uri, str) else None,
            request_id=request_id,
            protocol_version=protocol_version,
            session_id=http.session_id,
            meta=cast("Mapping[str, Any] | None", params.get("_meta")) if isinstance(params.get("_meta"), Mapping) else None,
        )
        http.operation = operation
        return operation

    def _is_method(self, method: str) -> bool:
        return (
            method in spec.SPEC_CLIENT_METHODS
            or method in spec.SPEC_CLIENT_NOTIFICATION_METHODS
            or self._server.get_request_handler(method) is not None
            or self._server.get_notification_handler(method) is not None
        )

    @staticmethod
    def finish_raised(operation: Operation, method: str, params: Mapping[str, Any], error: BaseException) -> Exception:
        """Close the operation of a message whose handler raised; returns what its caller is to hear, and raises what ends the task."""
        try:
            known = _in_protocol_words(method, answerable(error, method, _named(params)))
        except BaseException:
            operation.finish("cancelled")
            raise
        finish_failed(operation, known)
        return known

    def _learn(self, method: str, params: Mapping[str, Any]) -> None:
        name = params.get("name")
        if method in {"tools/call", "prompts/get"} and isinstance(name, str):
            self._names.learn(method, name)


def outcome_of(result: Any) -> Outcome:
    """How a handler's result counts: `ok`, `tool_error` or `input_required`."""
    match result:
        case CallToolResult(is_error=True) | {"isError": True}:
            return "tool_error"
        case InputRequiredResult() | {"resultType": "input_required"}:
            return "input_required"
        case _:
            return "ok"


def finish_failed(operation: Operation, error: Exception) -> None:
    """Close the operation of a message whose handler raised."""
    if isinstance(error, RefusedError):
        operation.finish("error", error_code=error.error.code, reason=error.refusal.reason)
    elif isinstance(error, MCPError):
        operation.finish("error", error_code=error.error.code)
    elif isinstance(error, ValidationError):
        operation.finish("error", error_code=INVALID_PARAMS)
    else:
        operation.finish("error", error_code=INTERNAL_ERROR)


def is_encoding_fault(error: BaseException) -> TypeGuard[Exception]:
    """Whether pydantic met a value that it cannot write: of no JSON type, circular, nested too deep, half a surrogate pair as a key."""
    return isinstance(error, PydanticSerializationError | UnicodeEncodeError) or (
        type(error) is ValueError and str(error).startswith(_PYDANTIC_REFUSES)
    )


def _named(params: Mapping[str, Any]) -> object:
    return params.get("name") or params.get("uri")


def _in_protocol_words(method: str, error: Exception) -> Exception:
    """Say what the SDK reports as an internal error without a word.

    That is a prompt or an argument that the caller got wrong, and a result that cannot be written.

    Source: MCP 2025-11-25, server/prompts, "Error Handling" (-32602 for both).
    """
    if is_encoding_fault(error):
        return unwritable(error, f"the result of {method}")
    if method == "prompts/get" and type(error) is ValueError and str(error).startswith(("Unknown prompt", "Missing required arguments")):
        return MCPError(code=INVALID_PARAMS, message=str(error)[:_MAX_QUOTED])
    return error


def _exchange_of(ctx: ServerRequestContext[Any, Any]) -> HttpExchange | None:
    return ctx.request.scope.get(SCOPE_KEY) if ctx.request is not None else None
