"""What is seen of one MCP message.

Owns its span, its duration and its canonical log event, `mcp.request`: who called what, how it ended, how long it took, and where to look
further. See `observer` for what is promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, set_span_in_context

from moorage.telemetry.context import NOTHING, context_of, remote_parent
from moorage.telemetry.conventions import CALL, EXECUTE_TOOL, GET_PROMPT, INTERNAL_ERROR, error_description, error_label
from moorage.telemetry.instruments import known_version
from moorage.telemetry.redaction import safe_uri, short

if TYPE_CHECKING:
    from moorage.telemetry.observer import Exchange

Outcome = Literal["ok", "tool_error", "error", "cancelled", "input_required", "timeout"]

_MAX_REQUEST_ID: Final = 128


class Operation:
    """One MCP message, from its decoding to its answer."""

    __slots__ = (
        "_context",
        "_exchange",
        "_finished",
        "_method",
        "_previous",
        "_protocol",
        "_session",
        "_span",
        "_started",
        "_target",
        "_uri",
        "span_context",
    )

    def __init__(
        self,
        exchange: Exchange,
        method: str,
        target: str | None,
        uri: str | None,
        request_id: str | int | None,
        protocol_version: str,
        session_id: str | None,
        meta: Mapping[str, Any],
    ) -> None:
        self._started = perf_counter()
        self._exchange = exchange
        self._finished = False
        self._method = method
        self._target = target
        self._uri = None if uri is None else safe_uri(uri)
        self._protocol = known_version(protocol_version)
        self._session = None if session_id is None else short(session_id)
        traceparent = meta.get("traceparent")
        parent = None if traceparent is None else remote_parent(traceparent, meta.get("tracestate"))
        context = exchange.context if parent is None else context_of(parent)
        self.span_context: SpanContext = exchange.span_context if parent is None else parent
        self._span: Span | None = None
        if exchange.observer.tracing:
            links = None if parent is None else (Link(exchange.span_context),)
            name = method if target is None else f"{method} {target}"
            self._span = span = exchange.observer.tracer.start_span(name, context, SpanKind.SERVER, None, links)
            if span.is_recording():
                span.set_attributes(self._attributes(request_id))
            self.span_context = span.get_span_context()
            context = set_span_in_context(span, NOTHING)
        self._context = context
        self._previous: Context | None = None
        if context is not NOTHING:
            self._previous = get_current()
            attach(context)

    def subject(self) -> dict[str, str]:
        """What the message is about: its method, and the tool or prompt."""
        subject = {"method": self._method}
        if self._target is not None:
            subject["prompt" if self._method == GET_PROMPT else "tool"] = self._target
        return subject

    def finish(self, outcome: Outcome, *, error_code: int | None = None, reason: str | None = None) -> None:
        """End the operation; a second call does nothing.

        Args:
            outcome: ok, tool_error (a result that says so of itself), error, cancelled, timeout (its deadline), or input_required (the user
                is asked back).
            error_code: The JSON-RPC code of an error.
            reason: Why it was refused before it ran, one of `conventions.REASONS`.
        """
        seconds = perf_counter() - self._started
        if self._finished:
            return
        self._finished = True
        exchange = self._exchange
        if reason is not None:
            exchange.reason = reason
        # Restoring by value and not by token: in another task a token cannot be reset, and there is nothing to restore either.
        if self._previous is not None and get_current() is self._context:
            attach(self._previous)
        error = outcome if outcome in ("tool_error", "timeout") else error_label(error_code) if outcome == "error" else None
        status = None if error_code is None else error_label(error_code)
        tool = self._target if self._method == CALL else None
        prompt = self._target if self._method == GET_PROMPT else None
        exchange.observer.instruments.operation.record(
            seconds,
            (self._method, tool, prompt, EXECUTE_TOOL if self._method == CALL else None, self._protocol, outcome, error, status),
            self.span_context,
        )
        if self._span is not None and self._span.is_recording():
            self._end(self._span, outcome, error, error_code)
        self._tell(exchange, outcome, error_code, seconds)

    def _attributes(self, request_id: str | int | None) -> dict[str, str]:
        exchange = self._exchange
        attributes = {
            "mcp.method.name": self._method,
            "mcp.protocol.version": self._protocol,
            "network.transport": "tcp",
            "network.protocol.name": "http",
            "network.protocol.version": exchange.http_version,
        }
        if request_id is not None:
            attributes["jsonrpc.request.id"] = str(request_id)[:_MAX_REQUEST_ID]
        if self._method == CALL:
            attributes["gen_ai.operation.name"] = EXECUTE_TOOL
        if self._target is not None:
            attributes["gen_ai.prompt.name" if self._method == GET_PROMPT else "gen_ai.tool.name"] = self._target
        if self._uri is not None:
            attributes["mcp.resource.uri"] = self._uri
        if self._session is not None:
            attributes["mcp.session.id"] = self._session
        if exchange.peer is not None:
            attributes["client.address"] = exchange.peer
        return attributes

    def _end(self, span: Span, outcome: str, error: str | None, error_code: int | None) -> None:
        span.set_attribute("moorage.outcome", outcome)
        if error_code is not None:
            span.set_attribute("rpc.response.status_code", str(error_code))
        if error is not None:
            span.set_attribute("error.type", error if error_code is None or outcome == "timeout" else str(error_code))
            span.set_status(Status(StatusCode.ERROR, error_description(error_code)))
        span.end()

    def _tell(self, exchange: Exchange, outcome: str, error_code: int | None, seconds: float) -> None:
        facts: dict[str, Any] = {"method": self._method}
        if self._target is not None:
            facts["prompt" if self._method == GET_PROMPT else "tool"] = self._target
        if self._uri is not None:
            facts["uri"] = self._uri
        facts["outcome"] = outcome
        if error_code is not None:
            facts["error_code"] = error_code
        if outcome == "error" and exchange.reason is not None:
            facts["reason"] = exchange.reason
        facts["ms"] = round(seconds * 1000, 3)
        if self._session is not None:
            facts["session"] = self._session
        if exchange.principal is not None:
            facts["principal"] = exchange.principal
        facts["protocol"] = self._protocol
        if self.span_context.is_valid:
            facts["trace_id"] = f"{self.span_context.trace_id:032x}"
        log = exchange.observer.log
        (log.warning if error_code == INTERNAL_ERROR else log.info)("mcp.request", **facts)
