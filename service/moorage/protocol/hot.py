"""The shortest right way for a plain `tools/call`.

Most calls are of a tool that never looks at its context, on a server without middleware of the user's. For those the SDK's
per-call context, session, connection and result sieve are built and thrown away unused. Here the SDK's own `Tool.run` is called
without them, in both eras: argument validation, the tool itself and the conversion of its result stay the SDK's. What a failed tool
becomes (`failed_result`) repeats `MCPServer._handle_call_tool`; the comparison suite holds the two together. The words of `tool_errors`
are those of both ways.

Anything else (a tool that wants a context or asks the client back, middleware, a replaced handler, a task, request state)
is declined by `prepare` and `prepare_in_session`, per call, so that a tool or middleware that is added later is respected at once.
Source: docs/decisions/2026-11-22-endpoint.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import find_invalid_x_mcp_header, validate_mcp_param_headers, x_mcp_header_map
from mcp_types import SERVER_INFO_META_KEY, CallToolResult, TextContent
from mcp_types.version import LATEST_MODERN_VERSION
from starlette.datastructures import Headers

from moorage.protocol import sdk
from moorage.protocol.encoding import is_plain
from moorage.protocol.inbound import Envelopes, Inbound
from moorage.protocol.observation import Observed, outcome_of
from moorage.protocol.tool_errors import RejectedArgumentsError, as_tool_error

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server
    from starlette.types import Scope

    from moorage.protocol.call import Call
    from moorage.protocol.session import Session
    from moorage.protocol.session_call import SessionCall

log = structlog.get_logger("moorage.protocol")

Work = Callable[[], Awaitable[dict[str, Any]]]

_CALL: Final = "tools/call"
_NOT_PLAIN_PARAMS = frozenset(("inputResponses", "requestState", "task"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for every call of one tool; it holds while the tool object and its schema are the same."""

    tool: Tool
    schema: dict[str, Any]
    needs_context: bool
    has_param_headers: bool

    @classmethod
    def of(cls, tool: Tool) -> Plan:
        """Read a tool."""
        schema = tool.parameters
        headers = find_invalid_x_mcp_header(schema) is None and bool(x_mcp_header_map(schema))
        wants_context = tool.context_kwarg is not None or bool(tool.resolved_params) or type(tool).run is not Tool.run
        return cls(tool, schema, wants_context, headers)


class HotTools:
    """`tools/call` of an `MCPServer`, without what a plain call does not need."""

    def __init__(self, target: MCPServer[Any], server: Server[Any], observed: Observed) -> None:
        self._target = target
        self._server = server
        self._observed = observed
        self._envelopes = Envelopes()
        self._plans: dict[str, Plan] = {}  # no memo: its names are those of the server's own tools, never a caller's
        self._seen: tuple[Any, list[Any]] | None = None
        self._open = False
        self._stamp: dict[str, Any] = {}
        self.lifespan_state: Any = None

    def start(self, lifespan_state: Any) -> None:
        """The server runs: take what is fixed from now on."""
        self.lifespan_state = lifespan_state
        self._stamp = self._server.server_info_stamp

    def param_headers_agree(self, params: Mapping[str, Any], scope: Scope) -> bool:
        """Whether `Mcp-Param-*` headers agree with the arguments (SEP-2243); False also where that cannot be told here."""
        name, arguments = params.get("name"), params.get("arguments")
        if type(name) is not str or not (arguments is None or type(arguments) is dict):
            return False
        plan = self._plan(name)
        if plan is None or not plan.has_param_headers:
            return True
        return validate_mcp_param_headers(plan.schema, cast("dict[str, Any]", arguments or {}), Headers(scope=scope)) is None

    def prepare(self, call: Call, inbound: Inbound) -> Work | None:
        """The call as a coroutine function, or `None` when it has to go through the SDK's kernel."""
        tool = self._plain_tool(inbound.params)
        if tool is None or not self._envelopes.accepts(inbound):
            return None
        return partial(self._run, call, inbound.params, tool, None)

    def prepare_in_session(self, call: SessionCall, params: Mapping[str, Any] | None) -> Work | None:
        """The same for a call of the handshake era."""
        if params is None:
            return None
        tool = self._plain_tool(params)
        return partial(self._run, call, params, tool, call.session) if tool is not None and _is_session_call(params) else None

    async def _run(self, call: Call, params: Mapping[str, Any], tool: Tool, session: Session | None) -> dict[str, Any]:
        """Run the tool with the operation that the middleware would have opened, and give its result as it stands on the wire.

        Raises what the caller is to hear, in the protocol's words.
        """
        version = LATEST_MODERN_VERSION if session is None else session.record.version
        operation = self._observed.begin(call.http, _CALL, params, call.request_id, version)
        try:
            result = await self._result(call, params, tool, session)
        except BaseException as error:
            known = self._observed.finish_raised(operation, _CALL, params, error)
            if known is error:
                raise
            raise known from error
        finally:
            call.http.operation = None
        operation.finish(outcome_of(result))
        return result

    async def _result(self, call: Call, params: Mapping[str, Any], tool: Tool, session: Session | None) -> dict[str, Any]:
        """Directly where the result is plain JSON, else by the kernel."""
        try:
            result = await tool.run(params.get("arguments") or {}, cast("Any", None), convert_result=True)
        except MCPError:
            raise
        except BaseException as error:  # boundary: a tool's failure is a result of its call
            result = failed_result(tool.name, as_tool_error(tool, error))
        wire = plain_result(result) if type(result) is CallToolResult else None
        if wire is None:
            runner = sdk.modern_runner(self._server, self.lifespan_state) if session is None else session.runner
            return await sdk.finish_through_kernel(runner, cast("Any", call), params, result)
        if session is None:
            wire["resultType"] = "complete"
            wire["_meta"] = {SERVER_INFO_META_KEY: self._stamp}
        return wire

    def _plain_tool(self, params: Mapping[str, Any]) -> Tool | None:
        """The tool of a call that needs nothing but its arguments."""
        name = params.get("name")
        plan = self._plan(name) if type(name) is str else None
        if plan is None or plan.needs_context or not _NOT_PLAIN_PARAMS.isdisjoint(params):
            return None
        entry = self._server.get_request_handler(_CALL)
        return None if entry is None or not self._is_open(entry) else plan.tool

    def _is_open(self, entry: Any) -> bool:
        """Whether nothing stands between a caller and the tool; the middleware is looked through again whenever it changed."""
        middleware = self._server.middleware
        seen = self._seen
        if seen is None or seen[0] is not entry or seen[1] != middleware:
            self._seen = (entry, list(middleware))
            self._open = not sdk.user_middleware(self._server, ours=Observed) and _CALL not in self._server.cache_hints
        return self._open and sdk.is_own_call_tool(entry.handler, self._target)

    def _plan(self, name: str) -> Plan | None:
        tool = sdk.registered_tool(self._target, name)
        if tool is None:
            return None
        plan = self._plans.get(name)
        if plan is None or plan.tool is not tool or plan.schema is not tool.parameters:
            plan = self._plans[name] = Plan.of(tool)
        return plan


def _is_session_call(params: Mapping[str, Any]) -> bool:
    """Whether the handshake era's request model accepts these parameters: it is one for all revisions and ignores other members."""
    arguments, meta = params.get("arguments"), params.get("_meta")
    if not (arguments is None or type(arguments) is dict):
        return False
    return meta is None or (type(meta) is dict and type(cast("dict[str, Any]", meta).get("progressToken", "")) in (str, int))


def failed_result(name: str, error: Exception) -> CallToolResult:
    """What a tool that raised is answered with; logged as the SDK logs it, without its text, which may quote the caller's values."""
    match error:
        case UnexpectedToolError():
            log.error("mcp.tool_failed", tool=name, exc_info=error)
        case RejectedArgumentsError(fields=fields):
            log.info("mcp.tool_rejected_arguments", tool=name, fields=fields)
        case ToolError():
            log.info("mcp.tool_refused", tool=name, characters=len(str(error)))
        case _:
            log.error("mcp.tool_failed", tool=name, exc_info=error)
    return CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)


def plain_result(result: CallToolResult) -> dict[str, Any] | None:
    """A result of text blocks and JSON values as its wire form in the handshake era; `None` for any other."""
    if result.meta is not None or result.result_type != "complete" or type(result.is_error) is not bool:
        return None
    content: list[dict[str, Any]] = []
    for block in result.content:
        if type(block) is not TextContent or block.annotations is not None or block.meta is not None:
            return None
        content.append({"type": "text", "text": block.text})
    wire: dict[str, Any] = {"content": content, "isError": result.is_error}
    structured = result.structured_content
    if structured is not None:
        if not is_plain(structured):
            return None
        wire["structuredContent"] = structured
    return wire
