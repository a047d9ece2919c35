"""What is seen of one HTTP exchange at the endpoint.

Owns the HTTP span, the request's duration, and the event of an exchange that had no MCP message in it; `operation` does the same for a
message. Both are on the path of every request: nothing waits, and what is not recorded is not computed. Promises that names and labels are
bounded, that a parent is only ever a trace context, and that neither arguments, results, error messages nor whole session ids are recorded.
Uses the OpenTelemetry API alone.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from time import perf_counter
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NoOpTracer, Span, SpanContext, SpanKind, StatusCode, Tracer, set_span_in_context
from structlog.typing import FilteringBoundLogger

from moorage.memo import BoundedMemo
from moorage.telemetry.context import NOTHING, context_of, remote_parent
from moorage.telemetry.conventions import OTHER, REFUSALS, ROUTE
from moorage.telemetry.instruments import Instruments, known_http_version, known_method
from moorage.telemetry.operation import Operation

Scope = MutableMapping[str, Any]
_NO_META: Final[Mapping[str, Any]] = {}
_MAX_TEXT: Final = 256
_MAX_PORT_DIGITS: Final = 5
_AUTHORITY_BYTES: Final = 512
"""Of what is read from a Host field, beside its text."""

_authorities: Final = BoundedMemo[bytes, dict[str, str | int]](entries=1024, max_bytes=1024 * 1024)


class Observer:
    """Watches exchanges. One a process."""

    __slots__ = ("instruments", "log", "tracer", "tracing")

    def __init__(self, *, tracer: Tracer, instruments: Instruments, log: FilteringBoundLogger) -> None:
        self.tracer = tracer
        self.instruments = instruments
        self.log = log
        self.tracing = not isinstance(tracer, NoOpTracer)

    def exchange(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Exchange:
        """Begin to watch an HTTP exchange; its `finish` must be called, whatever happens."""
        return Exchange(self, scope, headers)

    def rerun(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Exchange:
        """Begin to watch work that goes on without a client: its messages are observed, and no HTTP request is counted or traced."""
        return Exchange(self, scope, headers, is_request=False)


class Exchange:
    """One HTTP request and its answer.

    Attributes:
        principal: Who asks, as soon as the edge knows.
        reason: Why the edge refuses, one of `conventions.REASONS`; without it the status decides.
        context: What a message is a child of.
        span_context: The HTTP span, or the caller's when nothing is recorded here.
    """

    __slots__ = (
        "_finished",
        "_is_request",
        "_kind",
        "_messages",
        "_method",
        "_scheme",
        "_span",
        "_started",
        "context",
        "http_version",
        "observer",
        "peer",
        "principal",
        "reason",
        "span_context",
    )

    def __init__(self, observer: Observer, scope: Scope, headers: Mapping[bytes, bytes], *, is_request: bool = True) -> None:
        self._started = perf_counter()
        self.observer = observer
        self._method = known_method(scope["method"])
        self._scheme = "https" if scope.get("scheme") == "https" else "http"
        self._finished = False
        self._is_request = is_request
        self._kind: str | None = None
        self._messages = 0
        self.http_version = known_http_version(scope.get("http_version", "1.1"))
        client = scope.get("client")
        self.peer: str | None = client[0] if client else None
        self.principal: str | None = None
        self.reason: str | None = None
        if is_request:
            observer.instruments.request_started(self._method, self._scheme)
        traceparent = headers.get(b"traceparent")
        parent = None if traceparent is None else remote_parent(traceparent, headers.get(b"tracestate"))
        self.context: Context = NOTHING if parent is None else context_of(parent)
        self.span_context: SpanContext = INVALID_SPAN_CONTEXT if parent is None else parent
        self._span: Span | None = None
        if observer.tracing and is_request:
            name = "HTTP /mcp" if self._method == OTHER else self._method + " /mcp"
            self._span = span = observer.tracer.start_span(name, self.context, SpanKind.SERVER)
            if span.is_recording():  # and only then: our sampler does not ask for attributes
                span.set_attributes(self._attributes(scope, headers))
            self.context = set_span_in_context(span, NOTHING)
            self.span_context = span.get_span_context()

    def message(
        self,
        *,
        method: str,
        target: str | None,
        uri: str | None,
        request_id: str | int | None,
        protocol_version: str,
        session_id: str | None,
        meta: Mapping[str, Any] | None,
    ) -> Operation:
        """Begin to watch an MCP message; its span is current until its `finish`.

        Args:
            method: A method of the protocol, else `_OTHER`.
            target: A registered tool or prompt, else None.
            uri: The resource that is asked for, as the caller wrote it.
            request_id: None for a notification.
            protocol_version: As negotiated or claimed.
            session_id: The whole id; only its hash is recorded.
            meta: `params._meta`, whose trace context becomes the parent.
        """
        self._messages += 1
        return Operation(self, method, target, uri, request_id, protocol_version, session_id, meta or _NO_META)

    def streaming(self, kind: str) -> None:
        """Say that the answer is a long-lived stream (`listen` or `get`): it counts as one from now until `finish`."""
        if self._kind is None:
            self._kind = kind
            self.observer.instruments.stream_opened(kind)

    def finish(self, status: int, *, streamed: bool = False) -> None:
        """End the exchange; a second call does nothing. A long-lived stream is measured as one, and left out of the request durations."""
        if self._finished:
            return
        self._finished = True
        if not self._is_request:
            return
        seconds = perf_counter() - self._started
        instruments = self.observer.instruments
        if streamed:
            self.streaming("get" if self._method == "GET" else "listen")
        error = str(status) if status >= 500 else None
        instruments.request_ended(self._method, self._scheme)
        if self._kind is not None:
            instruments.stream_closed(self._kind, seconds, self.span_context)
        else:
            instruments.request.record(seconds, (self._method, self._scheme, ROUTE, status, self.http_version, error), self.span_context)
        if self._span is not None and self._span.is_recording():
            self._span.set_attribute("http.response.status_code", status)
            if error is not None:
                self._span.set_attribute("error.type", error)
                self._span.set_status(StatusCode.ERROR)
            self._span.end()
        if not self._messages:
            self._tell(status, seconds)
        elif self.reason is not None:  # understood, and refused before it ran
            instruments.refused(status, self.reason)

    def _tell(self, status: int, seconds: float) -> None:
        """Write the event of an exchange without a message; a refusal, when its status says so."""
        facts: dict[str, Any] = {"method": self._method, "status": status, "ms": round(seconds * 1000, 3)}
        if self.principal is not None:
            facts["principal"] = self.principal
        if self.span_context.is_valid:
            facts["trace_id"] = f"{self.span_context.trace_id:032x}"
        log = self.observer.log
        if status < 400 and self.reason is None:
            log.debug("http.exchange", **facts)
            return
        facts["reason"] = reason = self.reason or REFUSALS.get(status, OTHER)
        if self.peer is not None:
            facts["client"] = self.peer
        self.observer.instruments.refused(status, reason)
        (log.info if status < 500 or status == 503 else log.warning)("http.refused", **facts)

    def _attributes(self, scope: Scope, headers: Mapping[bytes, bytes]) -> dict[str, str | int]:
        attributes: dict[str, str | int] = {
            "http.request.method": self._method,
            "http.route": ROUTE,
            "url.path": scope["path"][:_MAX_TEXT],
            "url.scheme": self._scheme,
            "network.protocol.version": self.http_version,
        }
        if self.peer is not None:
            attributes["client.address"] = self.peer
        if self._method == OTHER:
            attributes["http.request.method_original"] = scope["method"][:32]
        host = headers.get(b"host")
        if host is not None:
            attributes.update(_authority(host[:_MAX_TEXT]))
        agent = headers.get(b"user-agent")
        if agent is not None:
            attributes["user_agent.original"] = _text(agent)
        return attributes


def _authority(host: bytes) -> dict[str, str | int]:
    """Return server.address and server.port as the caller named them; what is returned is shared."""
    return _authorities.get(host) or _authorities.put(host, _read_authority(host), 2 * len(host) + _AUTHORITY_BYTES)


def _read_authority(host: bytes) -> dict[str, str | int]:
    text = _text(host)
    name, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or len(port) > _MAX_PORT_DIGITS:
        return {"server.address": text}
    return {"server.address": name, "server.port": int(port)}


def _text(header: bytes) -> str:
    return header[:_MAX_TEXT].decode("latin-1")
