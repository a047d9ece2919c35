"""One HTTP exchange at `/mcp`: what came in, and the one place that writes what goes out.

Every answer passes through here, so that the status which the telemetry reports is the one that was sent, and so that
headers which belong on every answer (CORS, `Connection: close` in a drain) cannot be forgotten. Once the response has ended,
further writes are dropped: a tool that reports progress after its call is over must not break the connection.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from moorage.protocol.encoding import encode

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from moorage.security.principal import Principal
    from moorage.telemetry.observer import Exchange

Header = tuple[bytes, bytes]

SCOPE_KEY: Final = "moorage.exchange"
"""Where an exchange stands in its ASGI scope, for the middleware that sees only the SDK's request object."""

REFUSAL_KEY: Final = "moorage.refusal"
"""Where the refusal of a message stands in the scope, for whoever writes an answer that was made by the SDK."""

CLIENT_GONE: Final = 499
"""Reported in telemetry when the client left before an answer was due (nginx's convention); never sent."""

RETRY_AFTER: Final[Header] = (b"retry-after", b"1")
"""Seconds after which a refused client may come back."""

STREAM_HEAD_AFTER: Final = 0.02
"""Seconds from a POST to the earliest head of a streamed answer to it.

Proxies on Go's net/http (Traefik, Caddy) cut an answer off when it begins before they have put the request's body away; a body
that is answered whole fits into their buffer, a stream does not. Source: docs/decisions/2026-11-22-stream-head.md
"""

_NO_CONTENT: Final = 204
_EMPTY: Final[Header] = (b"content-length", b"0")
JSON: Final[Header] = (b"content-type", b"application/json")
SSE_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
)


_CREDENTIALS: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
"""What proves who calls. A tool has `principal` for that; with the key itself it could call in the caller's name, or log it."""

ABORT_KEY: Final = "moorage.abort"
"""Where our HTTP protocol leaves, in the ASGI scope, what cuts the connection off (`edge.http`)."""


class BodyTooLarge(Exception):  # noqa: N818 - a refusal, not a fault
    """The body is larger than `http.max_body_bytes`."""


class BodyStalled(Exception):  # noqa: N818 - a refusal, not a fault
    """The body did not arrive within `http.body_timeout_seconds`."""


class ClientLeft(Exception):  # noqa: N818 - an outcome, not a fault
    """The client closed the connection before its request was complete."""


class HttpExchange:
    """One request and its response."""

    __slots__ = (
        "_asgi_send",
        "_request",
        "_started",
        "body",
        "ended",
        "extra_headers",
        "headers",
        "observed",
        "operation",
        "principal",
        "receive",
        "scope",
        "sent_before",
        "session_id",
        "status",
        "streaming",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes], observed: Exchange) -> None:
        self.scope: Scope = scope
        self.receive = receive
        self.headers = headers
        self.observed = observed
        self._asgi_send = send
        self._request: Request | None = None
        self._started = get_running_loop().time()
        self.body = b""
        self.status = CLIENT_GONE
        self.streaming = False
        self.ended = False
        self.operation: object | None = None
        self.principal: Principal | None = None
        self.session_id: str | None = None
        self.extra_headers: list[Header] = []
        self.sent_before = False

    @property
    def request(self) -> Request:
        """The Starlette request that tools and SDK middleware see, without the caller's credentials; its body can still be read."""
        if self._request is None:
            headers: list[Header] = [field for field in self.scope["headers"] if field[0] not in _CREDENTIALS]
            self.scope = {**self.scope, "headers": headers}
            self.scope[SCOPE_KEY] = self
            self._request = Request(self.scope, self.replay_body())
        return self._request

    def finish(self) -> None:
        """The exchange is over: report it, and cut the references to it from what it refers to, so that all of it is free at once."""
        self.observed.finish(self.status)
        self.scope.pop(SCOPE_KEY, None)
        self._request = None

    @property
    def responded(self) -> bool:
        """Whether the response has begun."""
        return self.ended or self.streaming

    async def read_body(self, limit: int, timeout_seconds: float, grow: Callable[[HttpExchange, int], None] | None = None) -> bytes:
        """Read the body, once; `grow` hears of its size in bytes as it comes, and may raise to give it up.

        Raises:
            BodyTooLarge, BodyStalled, ClientLeft.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                body = await self._read_parts(limit, grow)
        except TimeoutError:
            raise BodyStalled from None
        if len(body) > limit:
            raise BodyTooLarge
        self.body = body
        return body

    async def _read_parts(self, limit: int, grow: Callable[[HttpExchange, int], None] | None) -> bytes:
        message = await self._next_part()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body
        parts, size = [body], len(body)
        while message.get("more_body") and size <= limit:
            message = await self._next_part()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if grow is not None:
                grow(self, size)
        return b"".join(parts)

    async def _next_part(self) -> Message:
        message = await self.receive()
        if message["type"] != "http.request":
            raise ClientLeft
        return message

    def replay_body(self) -> Receive:
        """A `receive` that gives the body, which was read already, once more."""
        unread = True

        async def receive() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": self.body, "more_body": False}
            return await self.receive()

        return receive

    async def disconnected(self) -> None:
        """Return when the client has left (or the response is complete)."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def send(self, message: Message) -> None:
        """An ASGI `send` for an application that writes its own response (the SDK's)."""
        if self.ended:
            return
        if message["type"] == "http.response.start":
            if any(header == SSE_HEADERS[0] for header in message.get("headers", ())):
                await self._head_may_go()
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self.extra_headers]}
            self.streaming = True
        elif not message.get("more_body", False):
            self.ended = True
        await self._write(message)

    async def respond(self, status: int, body: bytes = b"", headers: Iterable[Header] = ()) -> None:
        """Send a whole response; a body is JSON. What has no body says nothing about one (RFC 9110, section 8.6)."""
        if self.responded:
            return
        self.status, self.ended = status, True
        content = (JSON, (b"content-length", b"%d" % len(body))) if body else () if status == _NO_CONTENT else (_EMPTY,)
        await self._write({"type": "http.response.start", "status": status, "headers": [*content, *headers, *self.extra_headers]})
        await self._write({"type": "http.response.body", "body": body})

    async def respond_error(
        self, status: int, code: int, message: str, *, request_id: str | int | None = None, headers: Iterable[Header] = ()
    ) -> None:
        """Refuse with a JSON-RPC error; `request_id` is `None` only where the request's own could not be read."""
        payload: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
        await self.respond(status, encode(payload), headers)

    async def open_stream(self, headers: Iterable[Header] = ()) -> None:
        """Commit to `text/event-stream`."""
        if self.responded:
            return
        await self._head_may_go()
        if self.responded:  # the call ended while its first event waited
            return
        self.status, self.streaming = 200, True
        await self._write({"type": "http.response.start", "status": 200, "headers": [*SSE_HEADERS, *headers, *self.extra_headers]})

    async def _head_may_go(self) -> None:
        early = self._started + STREAM_HEAD_AFTER - get_running_loop().time()
        if early > 0 and self.scope["method"] == "POST":
            await asyncio.sleep(early)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Write a part of the stream; after the last part nothing is written any more."""
        if self.ended:
            return
        self.ended = last
        await self._write({"type": "http.response.body", "body": data, "more_body": not last})

    def abort(self) -> None:
        """Cut the connection off: its client has stopped reading, and a polite end would wait for it."""
        self.ended = True
        cut = self.scope.get(ABORT_KEY)
        if cut is not None:
            cut()

    def detached(self) -> HttpExchange:
        """An exchange of the same caller that nobody answers to: for work that goes on without a client."""
        scope = {**self.scope, "method": "POST"}
        scope.pop(SCOPE_KEY, None)
        twin = HttpExchange(scope, _silence, _drop, self.headers, self.observed.observer.rerun(scope, self.headers))
        twin.principal, twin.session_id, twin.ended = self.principal, self.session_id, True
        return twin

    async def _write(self, message: Message) -> None:
        try:
            await self._asgi_send(message)
        except OSError:  # the client has left: nothing that we could tell it
            self.ended = True


async def _silence() -> Message:
    return await get_running_loop().create_future()  # bounded by the task that waits: a call ends without its client


async def _drop(message: Message) -> None:
    del message
