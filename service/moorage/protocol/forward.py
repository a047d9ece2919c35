"""A request on its way to the session's owner, as this exchange sees it: what was passed on, and what it means when nothing was.

Source: docs/decisions/2026-11-24-relay.md
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

import anyio
import structlog
from opentelemetry.trace import SpanContext

from moorage.protocol.exchange import SSE_HEADERS
from moorage.protocol.reader import STALLED_SECONDS
from moorage.security.principal import ANONYMOUS
from moorage.sessions.relay import Answer, OwnerGone, OwnerLost, OwnerSilent, Relay

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange
    from moorage.store.sessions import Held

log = structlog.get_logger("moorage.protocol")


class Passed(Enum):
    """How it went."""

    ANSWERED = "the owner has answered, or the client has left"
    GONE = "the owner did not get the request, and will not: it is dead, or owns the session no more"
    SILENT = "the owner could not be reached in time, and may live"
    LOST = "the owner had the request and was lost before it answered"


async def forward(relay: Relay, held: Held, http: HttpExchange) -> Passed:
    """Pass an exchange on to the owner of its session, and its answer back, part by part."""
    verdict = Passed.ANSWERED

    async def leave(scope: anyio.CancelScope) -> None:
        await http.disconnected()
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave, tasks.cancel_scope)
        verdict = await _pass_on(relay, held, http)
        tasks.cancel_scope.cancel()
    if verdict is not Passed.ANSWERED:
        log.info("relay.failed", owner=held.owner, verdict=verdict.name.lower())
    return verdict


async def _pass_on(relay: Relay, held: Held, http: HttpExchange) -> Passed:
    principal = http.principal or ANONYMOUS
    method, headers = http.scope["method"], http.scope["headers"]
    try:
        async with relay.ask(held.owner, held.address, method, headers, http.body, principal, _trace(http.observed.span_context)) as answer:
            await _pass_back(answer, http)
    except OwnerGone:
        return Passed.GONE
    except OwnerSilent:
        return Passed.SILENT
    except OwnerLost:
        if not http.responded:
            return Passed.LOST
        http.abort()  # a polite end would complete what the owner had begun to say
    return Passed.ANSWERED


async def _pass_back(answer: Answer, http: HttpExchange) -> None:
    if SSE_HEADERS[0] in answer.headers:
        known = {name for name, _ in SSE_HEADERS}
        await http.open_stream([header for header in answer.headers if header[0] not in known])
        try:
            async for part in answer.parts:
                async with asyncio.timeout(STALLED_SECONDS):
                    await http.write(part)
        except TimeoutError:
            http.abort()
        await http.write(b"", last=True)
        return
    body = b"".join([part async for part in answer.parts])
    kept = [(name, value) for name, value in answer.headers if name not in (b"content-type", b"content-length")]
    await http.respond(answer.status, body, kept)


def _trace(span: SpanContext) -> bytes | None:
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}".encode()
