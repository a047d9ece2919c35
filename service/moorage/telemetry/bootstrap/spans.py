"""The spans of the endpoint: what the SDK's are, at a quarter of their cost.

Owns a tracer that asks the provider's sampler, obeys its limits and hands its processors the SDK's own readable spans. What a span of
ours is made of (a dozen short texts) is stored as it comes; as soon as anybody adds more than plain values, the SDK's own bounded
containers take over. Two of these are made for every call.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from time import time_ns
from types import MappingProxyType
from typing import Final, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    use_span,
)
from opentelemetry.util.types import AnyValue, Attributes

_PLAIN: Final = frozenset({str, int, bool, float})
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SAMPLED_RANDOM: Final = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
_UNSAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
_UNSAMPLED_RANDOM: Final = TraceFlags(TraceFlags.RANDOM_TRACE_ID)
_UNSET: Final = Status(StatusCode.UNSET)
_UNLIMITED: Final = 2**31
_OWN_ATTRIBUTES: Final = 32  # more than the endpoint ever sets
_slow_path = threading.Lock()  # a tool may add to its span from a thread


class EndpointTracer(Tracer):
    """Makes the endpoint's spans for a provider, next to the tracers that the provider makes itself."""

    def __init__(self, provider: TracerProvider, processor: SynchronousMultiSpanProcessor, limits: SpanLimits, version: str) -> None:
        self.provider = provider
        self.processor = processor
        self.limits = limits
        self.resource: Resource = provider.resource
        self.scope = InstrumentationScope("moorage", version)
        self.max_attributes: int = _UNLIMITED if limits.max_span_attributes is None else limits.max_span_attributes
        max_links: int = _UNLIMITED if limits.max_links is None else limits.max_links
        self.plain = limits.max_span_attribute_length is None and self.max_attributes >= _OWN_ATTRIBUTES and max_links >= 1

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002
        set_status_on_exception: bool = True,  # noqa: ARG002
    ) -> Span:
        """Start a span. Exceptions are never recorded by it, whatever is asked: their text may quote arguments."""
        ids = self.provider.id_generator
        current = get_current_span(context).get_span_context()
        parent = current if current.is_valid else None
        trace_id = ids.generate_trace_id() if parent is None else parent.trace_id
        random_id = ids.is_trace_id_random() if parent is None else bool(parent.trace_flags & TraceFlags.RANDOM_TRACE_ID)
        sampled = self.provider.sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
        if not sampled.decision.is_sampled():
            flags = _UNSAMPLED_RANDOM if random_id else _UNSAMPLED
            return NonRecordingSpan(SpanContext(trace_id, ids.generate_span_id(), False, flags, sampled.trace_state))
        flags = _SAMPLED_RANDOM if random_id else _SAMPLED
        span_context = SpanContext(trace_id, ids.generate_span_id(), False, flags, sampled.trace_state)
        given = cast(Attributes, sampled.attributes)  # pyright: ignore[reportUnknownMemberType]  # a sampler may add some
        span = EndpointSpan(self, name, span_context, parent, kind, given, links or (), start_time)
        self.processor.on_start(span, context)  # pyright: ignore[reportArgumentType]  # the SDK means "a span that records"
        return span

    def all_plain(self, attributes: Mapping[str, AnyValue]) -> bool:
        """Tell whether attributes can be stored as they are."""
        return len(attributes) <= _OWN_ATTRIBUTES and _PLAIN.issuperset(map(type, attributes.values())) and all(attributes)

    @contextmanager
    def start_as_current_span(  # pyright: ignore[reportIncompatibleMethodOverride]  # the API's own type is private
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002
        set_status_on_exception: bool = True,  # noqa: ARG002
        end_on_exit: bool = True,
    ) -> Generator[Span]:
        """Start a span and make it current."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with use_span(span, end_on_exit, record_exception=False, set_status_on_exception=False):
            yield span


class EndpointSpan(Span):
    """A span that records."""

    __slots__ = ("_attributes", "_context", "_ended", "_events", "_links", "_name", "_started", "_status", "_tracer", "kind", "parent")

    def __init__(
        self,
        tracer: EndpointTracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        start_time: int | None,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._context = context
        self._started = start_time or time_ns()
        self._ended: int | None = None
        self._status = _UNSET
        self._events: BoundedList[Event] | None = None
        self._links: Sequence[Link] | BoundedList[Link] = links
        self._attributes: dict[str, AnyValue] | BoundedAttributes = dict(attributes) if attributes else {}
        self.kind = kind
        self.parent = parent
        if not tracer.plain:
            self._bounded_attributes()
            self._bounded_links()

    @property
    def name(self) -> str:
        """The name, for processors that look at a span that starts."""
        return self._name

    @property
    def attributes(self) -> Mapping[str, AnyValue]:
        """The attributes, for the same."""
        return MappingProxyType(self._attributes)

    def get_span_context(self) -> SpanContext:
        """Return the identity of the span."""
        return self._context

    def is_recording(self) -> bool:
        """Tell whether the span has not ended."""
        return self._ended is None

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Set an attribute, within the limits of the provider."""
        own = self._attributes
        if type(own) is dict and type(value) in _PLAIN and key and len(own) < self._tracer.max_attributes and self._ended is None:
            own[key] = value
        else:
            self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Set attributes of any kind, within the limits of the provider."""
        own = self._attributes
        if type(own) is dict and not own and self._ended is None and self._tracer.all_plain(attributes):
            own.update(attributes)
            return
        with _slow_path:
            if self._ended is None:
                own = self._bounded_attributes()
                for key, value in attributes.items():
                    own[key] = value

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Add an event."""
        limits = self._tracer.limits
        event = Event(name, BoundedAttributes(limits.max_event_attributes, attributes, True, limits.max_attribute_length), timestamp)
        with _slow_path:
            if self._ended is None:
                if self._events is None:
                    self._events = BoundedList(limits.max_events)
                self._events.append(event)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add a link."""
        limits = self._tracer.limits
        link = Link(context, BoundedAttributes(limits.max_link_attributes, attributes, True, limits.max_attribute_length))
        with _slow_path:
            if self._ended is None and context.is_valid:
                self._bounded_links().append(link)

    def update_name(self, name: str) -> None:
        """Change the name."""
        if self._ended is None:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status; OK is final, UNSET changes nothing."""
        new = status if isinstance(status, Status) else Status(status, description)
        if self._ended is None and self._status.status_code is not StatusCode.OK and new.status_code is not StatusCode.UNSET:
            self._status = new

    def record_exception(
        self, exception: BaseException, attributes: Attributes = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """Record an exception as an event, with its message: only a tool that wants that calls it."""
        kind = type(exception)
        facts: dict[str, AnyValue] = {
            "exception.type": kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", facts | dict(attributes or {}), timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End the span and hand it to the provider's processors."""
        if self._ended is not None:
            return
        self._ended = end_time or time_ns()
        tracer = self._tracer
        tracer.processor.on_end(
            ReadableSpan(
                self._name,
                self._context,
                self.parent,
                tracer.resource,
                self._attributes,
                () if self._events is None else self._events,
                self._links,
                self.kind,
                None,
                self._status,
                self._started,
                self._ended,
                tracer.scope,
            )
        )

    def _bounded_attributes(self) -> BoundedAttributes:
        own = self._attributes
        if isinstance(own, dict):
            limits = self._tracer.limits
            own = self._attributes = BoundedAttributes(limits.max_span_attributes, own, False, limits.max_span_attribute_length)
        return own

    def _bounded_links(self) -> BoundedList[Link]:
        links = self._links
        if not isinstance(links, BoundedList):
            bounded: BoundedList[Link] = BoundedList(self._tracer.limits.max_links)
            bounded.extend(links)
            links = self._links = bounded
        return links
