"""One call in flight, and the set of all of them.

A `Call` is the SDK's `DispatchContext`, the switch from a JSON answer to an event stream, and the watch for a client that
leaves, in one object: nothing of it costs a task or a memory stream. Its first notification commits the response to SSE.
`InFlight` runs one ticker for all calls: those that outlive `WATCH_AFTER` get a disconnect watch, and those that stay silent get
a keep-alive comment, and those that are past their deadline are ended, without a timer of their own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR, REQUEST_TIMEOUT

from moorage.lifecycle.supervised import Scope, leave_cancelled_behind
from moorage.protocol.encoding import PING, sse_event
from moorage.protocol.turns import let_others
from moorage.telemetry.operation import Operation

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions

    from moorage.protocol.exchange import HttpExchange

GIVE_UP_AFTER: Final = 0.05
"""Seconds that an interrupted handler has to end before its call is answered without it: a tool may shield itself from its cancellation,
or catch it and go on. The smallest budget of a drain (1 s) has 0.1 s for interrupted calls."""

WATCH_AFTER: Final = 0.05
"""Seconds after which a call gets its own disconnect watch: most are over before, and a watch costs a task."""

_MOST_NAMED: Final = 20

log = structlog.get_logger("moorage.protocol")


class Call:
    """One request being served: what its handler may do to the response while it runs.

    Attributes:
        ended_because: What the call is answered with when it was interrupted for a reason of its own; None for any other interruption.
        given_up: Whether it was answered in the place of its handler, which did not end when it was interrupted.
        interrupted_at: When it was interrupted, on the loop's clock.
        renewed: When it last reported progress, or began, on the loop's clock: its deadline counts from there.
    """

    __slots__ = (
        "_lock",
        "cancel_scope",
        "client_gone",
        "closed",
        "ended_because",
        "given_up",
        "http",
        "interrupted_at",
        "last_write",
        "long_lived",
        "progress_token",
        "renewed",
        "request_id",
        "started",
        "streams",
        "watched",
    )

    def __init__(
        self, http: HttpExchange, request_id: str | int | None, progress_token: str | int | None, *, streams: bool, now: float
    ) -> None:
        """Args: `streams` is False where the answer has to be one JSON body; `now` is the loop's clock, in seconds."""
        self.http = http
        self.request_id = request_id
        self.progress_token = progress_token
        self.streams = streams
        self.started = self.last_write = self.renewed = now
        self.closed = self.client_gone = self.watched = self.given_up = False
        self.long_lived = False
        self.cancel_scope: anyio.CancelScope | None = None
        self.ended_because: MCPError | None = None
        self.interrupted_at: float | None = None
        self._lock: asyncio.Lock | None = None

    @property
    def transport(self) -> TransportContext:
        """What the handler may know about the transport."""
        return TransportContext(kind="streamable-http", can_send_request=self.can_send_request, headers=self.http.request.headers)

    @property
    def message_metadata(self) -> ServerMessageMetadata:
        """The HTTP request, for `ctx.request`."""
        return ServerMessageMetadata(request_context=self.http.request, can_send_request=self.can_send_request)

    @property
    def cancel_requested(self) -> anyio.Event:
        """Set when the peer cancelled; on HTTP a cancelled handler is interrupted, so nobody can see it set."""
        return anyio.Event()

    @property
    def can_send_request(self) -> bool:
        """Whether the handler may ask the client something while it runs."""
        return False

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> dict[str, Any]:
        """Refuse: a modern server asks by returning `input_required`."""
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification on this call's response; dropped in JSON mode and after the call."""
        if method == "notifications/progress":
            self.renewed = asyncio.get_running_loop().time()
        if self.streams and not self.closed:
            message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
            if params is not None:
                message["params"] = dict(params)
            await self.emit(message)
        await let_others()

    async def emit(self, message: Mapping[str, Any]) -> None:
        """Send one JSON-RPC message on this call's response."""
        await self.write(sse_event(message))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress, if the caller gave a token for it; either way it moves the deadline."""
        self.renewed = asyncio.get_running_loop().time()
        if self.progress_token is None:
            await let_others()
            return
        params: dict[str, Any] = {"progressToken": self.progress_token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.notify("notifications/progress", params)

    async def write(self, data: bytes) -> None:
        """Write one event; the first commits the response to SSE."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:  # two tasks of one tool that notify at once: the head precedes every event
            if self.closed or self.client_gone:
                return
            await self.open_stream()
            await self.http.write(data)
        self.last_write = asyncio.get_running_loop().time()

    @property
    def writing(self) -> bool:
        """Whether a write is under way: while its client does not read, each keep-alive would be a task more that waits for it."""
        return self._lock is not None and self._lock.locked()

    async def open_stream(self) -> None:
        """Commit to SSE (again is harmless)."""
        await self.http.open_stream()

    async def ping(self) -> None:
        """Keep the connection from being taken for idle."""
        await self.write(PING)

    @property
    def opens_at(self) -> float | None:
        """When, on the loop's clock, a call that is still silent commits to SSE by itself; None for never."""
        return None

    async def open_early(self) -> None:
        """Commit to SSE before there is anything to say."""

    def client_left(self) -> None:
        """The client closed the connection: in the modern era that is cancellation."""
        self.client_gone = True
        self.cancel()

    def end(self, error: MCPError) -> None:
        """Interrupt the call; it is answered with this error."""
        if self.ended_because is None:
            self.ended_because = error
        self.cancel()

    def expire(self, seconds: float) -> None:
        """It ran for `seconds`, longer than it may: interrupt it, answer in words, and have the telemetry say so."""
        if isinstance(self.http.operation, Operation):
            self.http.operation.finish("timeout", error_code=REQUEST_TIMEOUT)
        words = f"The call was stopped at its deadline, after {seconds:.1f} s; it may have taken effect or not"
        self.end(MCPError(code=REQUEST_TIMEOUT, message=words))

    def fail(self) -> None:
        """Work that belongs to the call has failed beside it: interrupt it, and answer with an internal error."""
        self.end(MCPError(code=INTERNAL_ERROR, message="Internal server error"))

    def cancel(self) -> None:
        """Interrupt the handler."""
        if self.cancel_scope is not None and not self.closed:
            if self.interrupted_at is None:
                self.interrupted_at = asyncio.get_running_loop().time()
            self.cancel_scope.cancel()

    async def answer_unended(self) -> None:
        """Answer in the place of the handler, which did not end when it was interrupted; waits for the client."""


class InFlight:
    """The calls that are being served in this process."""

    def __init__(self, ping_seconds: float, deadline_seconds: float, longest_seconds: float) -> None:
        """Args: a call ends `deadline_seconds` after its begin or its last progress, and `longest_seconds` after its begin in any case."""
        self._calls: set[Call] = set()
        self._ping_seconds = ping_seconds
        self._deadline_seconds = deadline_seconds
        self._longest_seconds = longest_seconds
        self._changed = asyncio.Event()
        self._background = Scope()
        self.streams = 0

    @property
    def calls(self) -> int:
        """How many calls are in flight; listen streams, which stay open by design, are not counted."""
        return len(self._calls) - self.streams

    def held_by(self, name: str) -> int:
        """How many of them are a principal's; looks at each."""
        return sum(not call.long_lived and call.http.principal is not None and call.http.principal.name == name for call in self._calls)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run the ticker; leaving ends it and every watch, and touches no call."""
        async with self._background:
            self._background.restarted("call-ticker", self._tick_forever)
            yield
            if any(call.given_up for call in self._calls):
                leave_cancelled_behind()

    async def run(self, call: Call, work: Awaitable[Any]) -> Any:
        """Await a call's handler in place, as a member of the set, under its cancel scope.

        Returns `None` when the call was cancelled; a handler's own result is never `None`.
        """
        with anyio.CancelScope() as call.cancel_scope:
            self._calls.add(call)
            self.streams += call.long_lived
            try:
                return await work
            finally:
                call.closed = True
                self._calls.discard(call)
                self.streams -= call.long_lived
                if not self._calls:
                    self._changed.set()
        return None

    async def idle(self) -> None:
        """Return when every call in flight is answered."""
        while not all(call.given_up for call in self._calls):
            self._changed.clear()
            await self._changed.wait()

    def end_those(self, concerned: Callable[[HttpExchange], bool], error: MCPError) -> None:
        """End the calls and listen streams of these exchanges with an error."""
        for call in list(self._calls):
            if concerned(call.http):
                call.end(error)

    def cancel_all(self) -> None:
        """Interrupt every call: the drain's budget is used up."""
        for call in list(self._calls):
            call.cancel()

    def name_unended(self) -> None:
        """Log once which calls go on though they were interrupted."""
        operations = [call.http.operation for call in self._calls if call.given_up]
        if operations:
            known = [each.subject() if isinstance(each, Operation) else {} for each in operations]
            names = Counter(each.get("tool") or each.get("prompt") or each.get("method", "_OTHER") for each in known)
            log.warning("calls.unended", calls=len(operations), names=[name for name, _ in names.most_common(_MOST_NAMED)])

    async def _tick_forever(self) -> None:
        background = self._background
        while True:
            await asyncio.sleep(WATCH_AFTER)
            now = asyncio.get_running_loop().time()
            for call in list(self._calls):
                if self._overdue(call, now):
                    call.expire(now - call.started)
                if call.interrupted_at is not None and now - call.interrupted_at >= GIVE_UP_AFTER:
                    self._give_up(call)
                    continue
                if not call.watched and now - call.started >= WATCH_AFTER:
                    call.watched = True
                    background.contained("call-watch", partial(self._watch, call), on_fault=call.fail)
                if call.streams and now - call.last_write >= self._ping_seconds and not call.writing:
                    call.last_write = now
                    background.contained("call-ping", call.ping, on_fault=call.fail)
                if (opens_at := call.opens_at) is not None and now >= opens_at:
                    background.contained("early-open", call.open_early, on_fault=call.fail)

    def _give_up(self, call: Call) -> None:
        """Answer an interrupted call whose handler goes on. It stays in the set, and keeps its place in every bound, until that ends."""
        if not (call.given_up or call.long_lived):
            call.given_up = call.closed = True
            self._changed.set()
            self._background.contained("call-unended", call.answer_unended)

    def _overdue(self, call: Call, now: float) -> bool:
        if call.long_lived or call.ended_because is not None:
            return False
        return now - call.renewed >= self._deadline_seconds or now - call.started >= self._longest_seconds

    async def _watch(self, call: Call) -> None:
        """Tell a call when its client leaves. uvicorn reports the end of the response in the same way, so this always ends."""
        await call.http.disconnected()
        if not call.closed:
            call.client_left()
