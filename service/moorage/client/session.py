"""Connect to an MCP server over streamable HTTP and call its tools.

Both protocol eras are negotiated by the SDK's client. This module adds what an application needs around it: a bearer
key, a deadline for every call, progress in order, answers to the server's questions, and errors that say what to do.
Everything else the protocol offers is reached through `Session.sdk`.
"""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import anyio
import httpx2
import mcp_types as types
from mcp import Client, InputRequiredRoundsExceededError, MCPError
from mcp.client import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client

from moorage.client.errors import ClientError, ProtocolError, UnreachableError
from moorage.client.http import HttpClient, as_client_error

Progress: TypeAlias = Callable[[float, float | None, str | None], Awaitable[None]]
"""Awaited with (progress, total, message), one event after the other, before the call's result is returned."""

Question: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any] | None]]
"""Awaited with the server's question and the JSON schema of its answer; None declines."""

_MAX_PAGES = 100
_STREAM_IDLE_SECONDS = 300.0
"""How long a stream may be silent; servers send keep-alives every few seconds."""


class Session:
    """An open connection. Made by `connect`; calls may run concurrently."""

    def __init__(self, sdk: Client, url: str, timeout_seconds: float) -> None:
        self.sdk = sdk
        self.url = url
        self._timeout_seconds = timeout_seconds

    @property
    def protocol_version(self) -> str:
        """The protocol revision both sides speak."""
        return self.sdk.protocol_version

    async def list_tools(self) -> list[types.Tool]:
        """Every tool of the server, all pages of them.

        Raises:
            ClientError: The list could not be fetched.
        """
        tools: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            try:
                page = await self.sdk.list_tools(cursor=cursor)
            except MCPError as error:
                raise as_client_error(error, self.url, self._timeout_seconds) from error
            tools.extend(page.tools)
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise ClientError(f"{self.url}: the list of tools did not end after {_MAX_PAGES} pages")

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
        on_progress: Progress | None = None,
    ) -> types.CallToolResult:
        """Call a tool and wait for its result. A tool's own failure is a result with `is_error`, not an exception.

        Args:
            name: The tool's name.
            arguments: Its arguments.
            timeout_seconds: Deadline of this call; the session's when None. It starts anew after each answered question.
            on_progress: Told each progress event; all of them before this returns.

        Raises:
            ClientError: There is no result: see `moorage.client.errors` for the kinds.
        """
        deadline = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        arguments = dict(arguments or {})
        try:
            if on_progress is None:
                return await self.sdk.call_tool(name, arguments, deadline)
            return await self._call_with_progress(name, arguments, deadline, on_progress)
        except MCPError as error:
            raise as_client_error(error, self.url, deadline) from error
        except InputRequiredRoundsExceededError as error:
            raise ClientError(f"{name}: the server kept asking questions and never answered ({error})") from error

    async def _call_with_progress(
        self, name: str, arguments: dict[str, Any], deadline: float, on_progress: Progress
    ) -> types.CallToolResult:
        """The SDK starts one task an event, in no order that it promises; a queue restores the order they came in."""
        send, receive = anyio.create_memory_object_stream[tuple[float, float | None, str | None]](float("inf"))

        async def enqueue(progress: float, total: float | None, message: str | None) -> None:
            send.send_nowait((progress, total, message))

        async def deliver() -> None:
            async with receive:
                async for event in receive:
                    await on_progress(*event)

        try:
            async with anyio.create_task_group() as tasks, send:
                tasks.start_soon(deliver)
                return await self.sdk.call_tool(name, arguments, deadline, enqueue)
        except BaseExceptionGroup as group:
            raise _only(group) from group
        raise AssertionError("a task group ends with the result or an exception")


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    timeout_seconds: float = 60.0,
    connect_timeout_seconds: float = 10.0,
    on_question: Question | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    mode: str = "auto",
) -> AsyncGenerator[Session]:
    """Open a session with the MCP server at `url`.

    Args:
        url: The endpoint, as in `https://tools.example.com/mcp`.
        token: The bearer key, as `moorage keys` printed it.
        timeout_seconds: Deadline of each call that names none of its own.
        connect_timeout_seconds: Deadline of the TCP and TLS handshake.
        on_question: Answers what a tool asks the user; without it tools that ask fail.
        headers: Sent with every request.
        tls: Trusted certificates; the system's when None.
        mode: "auto" finds the newest revision both speak; "legacy" or a revision such as "2026-07-28" insists.

    Raises:
        ClientError: The session could not be opened. What the body raises passes through as it is.
    """
    http = HttpClient(
        headers=_headers(url, token, headers),
        timeout=httpx2.Timeout(connect_timeout_seconds, read=max(timeout_seconds, _STREAM_IDLE_SECONDS)),
        verify=True if tls is None else tls,
    )
    client = Client(
        streamable_http_client(url, http_client=http),
        read_timeout_seconds=timeout_seconds,
        elicitation_callback=None if on_question is None else _elicitation(on_question),
        mode=mode,
    )
    opened, raised = False, None
    try:
        async with http, client:
            opened = True
            try:
                yield Session(client, url, timeout_seconds)
            except BaseException as error:  # boundary: the caller's own exception leaves as it came, see below
                raised = error
                raise
    except BaseExceptionGroup as group:
        error = _only(group)
        if raised is not None and _holds(group, raised):
            raise raised from raised.__cause__
        if isinstance(error, httpx2.TransportError):
            raise UnreachableError(f"{url}: the connection was lost: {error}") from group
        if isinstance(error, MCPError) and not opened:
            raise _cannot_open(as_client_error(error, url, timeout_seconds), url) from group
        raise


def _headers(url: str, token: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    if not url.startswith(("http://", "https://")):
        raise ClientError(f"{url!r} is not the URL of an MCP server: it starts with http:// or https://")
    all_headers = dict(headers or {})
    if token is not None:
        if not token.isascii() or not token.isprintable() or not token.strip():
            raise ClientError("the token is empty or holds characters that no key has: check the file or variable it comes from")
        all_headers["Authorization"] = f"Bearer {token.strip()}"
    return all_headers


def _cannot_open(error: ClientError, url: str) -> ClientError:
    if isinstance(error, ProtocolError) and error.code == types.METHOD_NOT_FOUND:
        return ProtocolError(f"{url} is no MCP endpoint ({error.message}): the path is usually /mcp", error.code, error.data)
    return error


def _elicitation(on_question: Question) -> Any:
    async def ask(_context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult | types.ErrorData:
        if not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="decline")
        answer = await on_question(params.message, params.requested_schema)
        return types.ElicitResult(action="decline") if answer is None else types.ElicitResult(action="accept", content=answer)

    return ask


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Task groups wrap the one exception that ended them: this is that exception, or the group if there were several."""
    while len(group.exceptions) == 1:
        error = group.exceptions[0]
        if not isinstance(error, BaseExceptionGroup):
            return error
        group = cast("BaseExceptionGroup[BaseException]", error)
    return group


def _holds(group: BaseExceptionGroup[BaseException], wanted: BaseException) -> bool:
    return any(
        error is wanted or (isinstance(error, BaseExceptionGroup) and _holds(cast("BaseExceptionGroup[BaseException]", error), wanted))
        for error in group.exceptions
    )
