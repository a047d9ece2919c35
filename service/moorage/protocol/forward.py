"""A request on its way to the session's owner, as this exchange sees it: what was passed on, and what it means when nothing was.

Source: docs/decisions/2026-11-24-relay.md
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import structlog
from opentelemetry.trace import SpanContext

from moorage.protocol.exchange import SSE_HEADERS
from moorage.protocol.reader import STALLED_SECONDS
from moorage.protocol.residents import IsAlive, Passed
from moorage.security.principal import ANONYMOUS
from moorage.sessions.relay import Answer, OwnerGone, OwnerLost, OwnerSilent, Relay
from moorage.store.outage import StoreUnavailable

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange
    from moorage.store.sessions import Held

log = structlog.get_logger("moorage.protocol")


async def forward(relay: Relay, held: Held, http: HttpExchange, *, watch_seconds: float, is_alive: IsAlive) -> Passed:
    """Pass an exchange on to the owner of its session, and its answer back, part by part.

    An owner that neither answers nor closes the connection (its node is gone, or it hangs) is given up when its key in the store is gone:
    every `watch_seconds` somebody looks.
    """
    verdict = Passed.ANSWERED

    async def leave(scope: anyio.CancelScope) -> None:
        await http.disconnected()
        scope.cancel()

    async def watch(scope: anyio.CancelScope) -> None:
        nonlocal verdict
        while True:
            if not await _believed(held, is_alive):
                break
            await asyncio.sleep(watch_seconds)
        verdict = _lost(http)
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave, tasks.cancel_scope)
        watching = asyncio.get_running_loop().call_later(watch_seconds, tasks.start_soon, watch, tasks.cancel_scope)
        try:
            verdict = await _pass_on(relay, held, http)
        finally:
            watching.cancel()
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
