"""A request on its way to the session's owner, as this exchange sees it: what was passed on, and what it means when nothing was.

`Underway` knows all of them: in a drain, streams that pass through here end with a hint to come back, and calls are waited for as if they
ran here.

Source: docs/decisions/2026-11-24-relay.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import structlog
from mcp_types import INTERNAL_ERROR
from opentelemetry.trace import SpanContext

from moorage.lifecycle.supervised import Scope
from moorage.protocol.exchange import RETRY_AFTER, SSE_HEADERS
from moorage.protocol.home import IsAlive, Passed
from moorage.protocol.reader import RETRY
from moorage.security.principal import ANONYMOUS
from moorage.sessions.relay import Answer, OwnerGone, OwnerLost, OwnerSilent, Relay
from moorage.store.outage import StoreUnavailable

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange
    from moorage.store.sessions import Held

_EVENT_ENDS: Final = b"\r\n\r\n"

log = structlog.get_logger("moorage.protocol")


class Passage:
    """One exchange that is with another owner.

    Attributes:
        whole: Whether what was passed back of a stream ends where an event ends.
        ended: Whether it is to end now, whatever the owner still has to say.
    """

    __slots__ = ("_scope", "ended", "http", "whole")

    def __init__(self, http: HttpExchange) -> None:
        self.http = http
        self._scope: anyio.CancelScope | None = None
        self.whole = True
        self.ended = False

    @property
    def streams(self) -> bool:
        """Whether it would never end by itself."""
        return self.http.scope["method"] == "GET"

    def end(self) -> None:
        """Close the hop, and have the client come back."""
        self.ended = True
        if self._scope is not None:
            self._scope.cancel()

    def under(self, scope: anyio.CancelScope) -> None:
        """Be ended by cancelling this scope."""
        self._scope = scope

    async def say_so(self) -> None:
        """End the response: a client that has a position comes back with it, another sees that it was cut off."""
        if self.http.streaming:
            await self.http.write(RETRY if self.whole else b"", last=True)
        elif self.streams:
            await self.http.respond_error(503, INTERNAL_ERROR, "The server is shutting down", headers=[RETRY_AFTER])
        else:
            self.http.abort()  # the owner may have run the call: neither an error nor "try again" would be true


class Underway:
    """The exchanges of this process that are with other owners now.

    Attributes:
        calls: How many there are, beside streams.
    """

    def __init__(self) -> None:
        self._passages: set[Passage] = set()
        self._changed = asyncio.Event()
        self.calls = 0

    def held_by(self, name: str) -> int:
        """How many calls of a principal are away; looks at each."""
        principals = (passage.http.principal for passage in self._passages if not passage.streams)
        return sum(principal is not None and principal.name == name for principal in principals)

    @contextmanager
    def holding(self, passage: Passage) -> Generator[None]:
        """Count an exchange in for as long as it is away."""
        self._passages.add(passage)
        self.calls += not passage.streams
        try:
            yield
        finally:
            self._passages.discard(passage)
            self.calls -= not passage.streams
            self._changed.set()

    def end_streams(self) -> None:
        """Have the clients of streams come back elsewhere."""
        for passage in list(self._passages):
            if passage.streams:
                passage.end()

    def end_those(self, concerned: Callable[[HttpExchange], bool]) -> None:
        """Close the hops of these exchanges."""
        for passage in list(self._passages):
            if concerned(passage.http):
                passage.end()

    def end_all(self) -> None:
        """The drain's budget is used up."""
        for passage in list(self._passages):
            passage.end()

    async def idle(self) -> None:
        """Return when no call is away."""
        while self.calls:
            self._changed.clear()
            await self._changed.wait()


async def forward(relay: Relay, held: Held, http: HttpExchange, *, watch_seconds: float, is_alive: IsAlive, underway: Underway) -> Passed:
    """Pass an exchange on to the owner of its session, and its answer back, part by part.

    An owner that neither answers nor closes the connection (its node is gone, or it hangs) is given up when its key in the store is gone:
    every `watch_seconds` somebody looks.
    """
    verdict, passage = Passed.ANSWERED, Passage(http)

    async def leave(scope: anyio.CancelScope) -> None:
        await http.disconnected()
        scope.cancel()

    async def watch(scope: anyio.CancelScope) -> None:
        nonlocal verdict
        while True:
            await asyncio.sleep(watch_seconds)
            if not await _believed(held, is_alive):
                break
        verdict = Passed.DEAD if _lost(http) is Passed.LOST else Passed.ANSWERED
        scope.cancel()

    def give_up(scope: anyio.CancelScope) -> None:
        nonlocal verdict
        verdict = _lost(http)
        scope.cancel()

    with anyio.CancelScope() as scope:
        async with Scope() as beside:
            beside.contained("client-watch", partial(leave, scope), on_fault=partial(give_up, scope))
            beside.contained("relay-watch", partial(watch, scope), on_fault=partial(give_up, scope))
            passage.under(scope)
            with underway.holding(passage):
                verdict = await _pass_on(relay, held, passage)
    if passage.ended:
        await passage.say_so()
    if verdict is not Passed.ANSWERED:
        log.info("relay.failed", owner=held.owner, verdict=verdict.name.lower())
    return verdict


async def _pass_on(relay: Relay, held: Held, passage: Passage) -> Passed:
    http = passage.http
    principal = http.principal or ANONYMOUS
    method, headers = http.scope["method"], http.scope["headers"]
    try:
        async with relay.ask(held.owner, held.address, method, headers, http.body, principal, _trace(http.observed.span_context)) as answer:
            await _pass_back(answer, passage)
    except OwnerGone:
        return Passed.GONE
    except OwnerSilent:
        return Passed.SILENT
    except OwnerLost:
        return _lost(http)
    return Passed.ANSWERED


def _lost(http: HttpExchange) -> Passed:
    if not http.responded:
        return Passed.LOST
    http.abort()  # a polite end would complete what the owner had begun to say
    return Passed.ANSWERED


async def _believed(held: Held, is_alive: IsAlive) -> bool:
    try:
        return await is_alive(held.owner)
    except StoreUnavailable:
        return True  # nobody knows better


async def _pass_back(answer: Answer, passage: Passage) -> None:
    http = passage.http
    if SSE_HEADERS[0] in answer.headers:
        known = {name for name, _ in SSE_HEADERS}
        await http.open_stream([header for header in answer.headers if header[0] not in known])
        async for part in answer.parts:
            passage.whole = part.endswith(_EVENT_ENDS)
            await http.write(part)
        await http.write(b"", last=True)
        return
    body = b"".join([part async for part in answer.parts])
    kept = [(name, value) for name, value in answer.headers if name not in (b"content-type", b"content-length")]
    await http.respond(answer.status, body, kept)


def _trace(span: SpanContext) -> bytes | None:
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}".encode()
