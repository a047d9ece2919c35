"""Every private part of the SDK that moorage relies on, in one module.

Each is named in `PRIVATE_PARTS` and probed by `missing_parts()` when the process starts: with another SDK release under us the
endpoint takes the SDK's own kernel for every call and says so, instead of failing in one (only the low-level server has to be
there: without it there is nothing to serve). Nothing else may import an underscored
SDK module or touch an underscored SDK attribute (ruff TID251 and SLF001 hold that).
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from anyio.to_thread import run_sync as anyio_run_sync
from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server._streamable_http_modern import handle_modern_request
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.server.request_state import AESGCMRequestStateCodec, RequestStateBoundary, RequestStateCodec
from mcp.server.runner import ServerRunner, modern_error_data
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types.version import LATEST_MODERN_VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.context import ServerMiddleware
    from mcp.server.mcpserver.tools import Tool
    from mcp.server.subscriptions import ServerEvent
    from mcp.shared.dispatcher import DispatchContext
    from mcp.shared.transport_context import TransportContext

__all__ = [
    "PRIVATE_PARTS",
    "THREADED_MODULES",
    "bound_results",
    "convert_tool_errors",
    "finish_through_kernel",
    "handle_modern_request",
    "is_own_call_tool",
    "low_level",
    "missing_parts",
    "missing_thread_parts",
    "modern_error_data",
    "registered_prompt",
    "registered_tool",
    "remove_sdk_tracing",
    "share_bus",
    "share_request_state",
    "threads_by",
    "user_middleware",
]

PRIVATE_PARTS: Final[Mapping[type[Any], tuple[str, ...]]] = {
    MCPServer: ("_lowlevel_server", "_tool_manager", "_prompt_manager", "_handle_call_tool"),
    FuncMetadata: ("convert_result",),
    ServerRunner: ("_make_context", "_compose_server_middleware", "_serialize"),
}
"""What is relied on, by class; of `MCPServer` a part may also be what each server object has of its own."""


THREADED_MODULES: Final = tuple(
    f"mcp.server.mcpserver.{name}"
    for name in ("utilities.func_metadata", "resolve", "prompts.base", "resources.types", "resources.templates")
)
"""The modules that run plain functions by `anyio.to_thread.run_sync`, each through a name `anyio` of its own."""

_runners: Final[dict[asyncio.AbstractEventLoop, Callable[..., Awaitable[Any]]]] = {}


class _Anyio(ModuleType):
    """anyio, with another `to_thread.run_sync`."""

    def __init__(self) -> None:
        super().__init__("anyio")
        vars(self)["to_thread"] = SimpleNamespace(run_sync=_run_sync)

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)


def _run_sync(function: Callable[..., Any], *arguments: Any, **options: Any) -> Awaitable[Any]:
    run = _runners.get(asyncio.get_running_loop())
    return anyio_run_sync(function, *arguments, **options) if run is None or options else run(function, *arguments)


_ANYIO: Final = _Anyio()


def missing_thread_parts() -> list[str]:
    """The modules that do not run plain functions as we know it (none in the release that moorage was built on)."""
    return [f"{name}.anyio" for name in THREADED_MODULES if _name_anyio(name) not in (anyio, _ANYIO)]


def _name_anyio(module: str) -> Any:
    try:
        return getattr(import_module(module), "anyio", None)
    except ImportError:
        return None


@contextmanager
def threads_by(run_sync: Callable[..., Awaitable[Any]]) -> Generator[None]:
    """Have the SDK run plain functions (tools, prompts, resources) by `run_sync` on this event loop, for as long as the context is open.

    It is used as `anyio.to_thread.run_sync` is, with the function and its positional arguments.
    """
    loop = asyncio.get_running_loop()
    for name in THREADED_MODULES:
        setattr(import_module(name), "anyio", _ANYIO)  # noqa: B010 - a module has no such attribute for the type checker
    _runners[loop] = run_sync
    try:
        yield
    finally:
        if _runners.get(loop) == run_sync:  # or another service of this loop has come
            del _runners[loop]


def missing_parts(target: MCPServer[Any]) -> list[str]:
    """The private parts that this SDK release does not have (empty for the release that moorage was built on)."""
    return [
        f"{kind.__name__}.{part}"
        for kind, parts in PRIVATE_PARTS.items()
        for part in parts
        if not hasattr(target if kind is MCPServer else kind, part)
    ]


def low_level(target: MCPServer[Any] | Server[Any]) -> Server[Any]:
    """The low-level server behind either kind of SDK server object."""
    return target._lowlevel_server if isinstance(target, MCPServer) else target


def remove_sdk_tracing(server: Server[Any]) -> None:
    """Take the SDK's own tracing out of the chain: moorage opens the message span, and there must be one."""
    server.middleware[:] = [middleware for middleware in server.middleware if not isinstance(middleware, OpenTelemetryMiddleware)]


def user_middleware(server: Server[Any], *, ours: type[Any]) -> list[ServerMiddleware[Any]]:
    """The middleware that neither the SDK nor moorage put there."""
    return [middleware for middleware in server.middleware if not isinstance(middleware, (RequestStateBoundary, ours))]


def is_own_call_tool(handler: Callable[..., Any], target: MCPServer[Any]) -> bool:
    """Whether `tools/call` runs the SDK's own code from end to end: nothing replaced, wrapped or overridden."""
    return (
        getattr(handler, "__func__", None) is MCPServer._handle_call_tool
        and type(target).call_tool is MCPServer.call_tool
        and "call_tool" not in vars(target)
    )


def registered_tool(target: MCPServer[Any], name: str) -> Tool | None:
    """The tool that is registered under this name."""
    return target._tool_manager.get_tool(name)


def convert_tool_errors(target: MCPServer[Any], convert: Callable[[Tool, BaseException], Exception]) -> None:
    """Have `convert` say what leaves a tool that failed, wherever the SDK runs it; again is harmless.

    `MCPError` is an answer and stays. `convert` is called in the frame that has caught the error, and may raise it again.
    """
    manager = target._tool_manager
    if "call_tool" in vars(manager):
        return
    run = manager.call_tool

    async def call_tool(name: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await run(name, *arguments, **options)
        except MCPError:
            raise
        except BaseException as error:
            tool = manager.get_tool(name)
            if tool is None:
                raise
            known = convert(tool, error)
            if known is error:
                raise
            try:
                raise known from known.__cause__
            finally:
                # pydantic's error is behind it, and what that one holds the garbage collector cannot see: through the frames of a validator
                # that raised it would hold this frame, and with it the whole exchange for good
                del known

    setattr(manager, "call_tool", call_tool)  # noqa: B010 - the object that the server holds stays the same


def bound_results(refuse: Callable[[Any], None]) -> None:
    """Have `refuse` look at what a tool of any server of this process returned, before it is converted; again is harmless.

    Args:
        refuse: Raises a `ToolError` for what is not to be converted.
    """
    convert = FuncMetadata.convert_result
    if hasattr(convert, "refuses"):
        return

    def convert_result(self: FuncMetadata, result: Any) -> Any:
        refuse(result)
        return convert(self, result)

    setattr(convert_result, "refuses", True)  # noqa: B010 - a mark of our own on a function
    FuncMetadata.convert_result = convert_result


def registered_prompt(target: MCPServer[Any], name: str) -> bool:
    """Whether a prompt is registered under this name."""
    return target._prompt_manager.get_prompt(name) is not None


def share_bus(server: Server[Any], publish: Callable[[ServerEvent], Awaitable[None]]) -> Callable[[ServerEvent], Awaitable[None]] | None:
    """Send what is published on the server's in-process bus through `publish`; returns what delivers to its own listeners.

    `None` where the server has no listen handler, or a bus of its author's own: that one reaches whom its author wants.
    """
    entry = server.get_request_handler("subscriptions/listen")
    bus = getattr(entry.handler, "_bus", None) if entry is not None and isinstance(entry.handler, ListenHandler) else None
    if type(bus) is not InMemorySubscriptionBus:
        return None
    deliver = bus.publish
    setattr(bus, "publish", publish)  # noqa: B010 - the object that tools and the handler hold stays the same
    return deliver


def share_request_state(server: Server[Any], codec: Callable[[RequestStateCodec], RequestStateCodec]) -> None:
    """Have `requestState` sealed by `codec`, which is given the SDK's own; one of the author's making is left alone."""
    for middleware in server.middleware:
        security = getattr(middleware, "_security", None) if isinstance(middleware, RequestStateBoundary) else None
        if security is not None and type(security.codec) is AESGCMRequestStateCodec:
            security.codec = codec(security.codec)


def modern_runner(server: Server[Any], lifespan_state: Any) -> ServerRunner[Any]:
    """The kernel for one call whose client's envelope does not matter any more."""
    return ServerRunner(server, Connection.from_envelope(LATEST_MODERN_VERSION, None, None), lifespan_state)


async def finish_through_kernel(
    runner: ServerRunner[Any], dispatch: DispatchContext[TransportContext], params: Mapping[str, Any], result: Any
) -> dict[str, Any]:
    """Give a `tools/call` result that was produced outside the kernel everything the kernel does to one.

    Sealing of `requestState` is a middleware, so a result that asks the client back must pass the chain; the per-version sieve
    and the server stamp are the kernel's too.
    """
    version = runner.connection.protocol_version
    context = runner._make_context(dispatch, "tools/call", params, cast("Any", params.get("_meta")), version)

    async def produced(_: Any) -> dict[str, Any]:
        return runner._serialize("tools/call", version, result)

    return cast("dict[str, Any]", await runner._compose_server_middleware(produced)(context))
