"""The endpoint's spans against the SDK's own: whatever is done to them, what is exported is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from moorage.telemetry.bootstrap.sampling import BoundarySampler
from moorage.telemetry.bootstrap.spans import EndpointTracer
from moorage.telemetry.context import NOTHING, context_of, remote_parent
from moorage.telemetry.environment import Sampling

OTHER = SpanContext(5, 6, False, TraceFlags(1))
PARENT = remote_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", "vendor=1")


class Counting(IdGenerator):
    """Gives both tracers the same ids."""

    def __init__(self) -> None:
        self.last = 0

    def generate_span_id(self) -> int:
        self.last += 1
        return self.last

    def generate_trace_id(self) -> int:
        self.last += 1
        return self.last

    def is_trace_id_random(self) -> bool:
        return True


def plain(tracer: Tracer) -> Span:
    return tracer.start_span("plain", NOTHING, SpanKind.SERVER, {"a": "b", "n": 1}, start_time=10)


def child_of_a_caller(tracer: Tracer) -> Span:
    assert PARENT is not None
    return tracer.start_span("child", context_of(PARENT), SpanKind.SERVER, None, [Link(OTHER)], start_time=10)


def plain_attributes(tracer: Tracer) -> Span:
    span = plain(tracer)
    span.set_attribute("text", "x" * 5000)
    span.set_attribute("a", True)
    span.set_attribute("ratio", 0.5)
    return span


def attributes_at_once(tracer: Tracer) -> Span:
    span = tracer.start_span("s", NOTHING, start_time=10)
    span.set_attributes({"a": "b", "n": 1})
    span.set_attributes({"c": (1, 2), "d": None})
    return span


def attributes_of_other_kinds(tracer: Tracer) -> Span:
    span = plain(tracer)
    span.set_attribute("list", ["a", "b"])
    span.set_attribute("", "dropped")
    span.set_attribute("bytes", b"\x00")
    return span


def more_attributes_than_allowed(tracer: Tracer) -> Span:
    span = plain(tracer)
    for number in range(300):
        span.set_attribute(f"key.{number}", number)
    return span


def events_and_links(tracer: Tracer) -> Span:
    span = child_of_a_caller(tracer)
    for number in range(200):
        span.add_event(f"event {number}", {"n": number, "l": ["x"]}, timestamp=number + 1)
    span.add_link(SpanContext(7, 8, True, TraceFlags(1)), {"why": "because"})
    span.add_link(SpanContext(0, 0, False))
    return span


def an_exception(tracer: Tracer) -> Span:
    span = plain(tracer)
    span.record_exception(LookupError("no"), {"more": 1}, timestamp=11)
    return span


def statuses(tracer: Tracer) -> Span:
    span = plain(tracer)
    span.set_status(StatusCode.ERROR, "first")
    span.set_status(StatusCode.UNSET)
    span.set_status(Status(StatusCode.OK))
    span.set_status(StatusCode.ERROR, "too late")
    return span


def after_the_end(tracer: Tracer) -> Span:
    span = plain(tracer)
    span.update_name("renamed")
    span.end(20)
    span.update_name("too late")
    span.set_attribute("too", "late")
    span.set_attributes({"too": ["late"]})
    span.add_event("too late")
    span.set_status(StatusCode.ERROR)
    return span


STORIES = [
    plain,
    child_of_a_caller,
    plain_attributes,
    attributes_at_once,
    attributes_of_other_kinds,
    more_attributes_than_allowed,
    events_and_links,
    an_exception,
    statuses,
    after_the_end,
]
LIMITS = {
    "default": {},
    "short values": {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "10"},
    "few attributes": {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1"},
    "no links": {"OTEL_SPAN_LINK_COUNT_LIMIT": "0"},
    "few events": {"OTEL_SPAN_EVENT_COUNT_LIMIT": "3", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "1"},
}


def tell(story: Callable[[Tracer], Span], tracer_of: Callable[[TracerProvider, SynchronousMultiSpanProcessor], Tracer]) -> ReadableSpan:
    exporter = InMemorySpanExporter()
    processor = SynchronousMultiSpanProcessor()
    processor.add_span_processor(SimpleSpanProcessor(exporter))
    provider = TracerProvider(
        BoundarySampler(Sampling(1.0, True)), Resource({"service.name": "s"}), False, processor, Counting(), SpanLimits()
    )
    story(tracer_of(provider, processor)).end(20)
    (span,) = exporter.get_finished_spans()
    return span


def sent(span: ReadableSpan) -> object:
    """Return a span as it goes over the wire; the order of attributes has no meaning."""
    request = encode_spans([span])
    request.resource_spans[0].scope_spans[0].spans[0].attributes.sort(key=lambda attribute: attribute.key)
    return request


@pytest.mark.filterwarnings("ignore:.*ended span.*")
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("story", STORIES)
def test_what_is_exported_is_what_the_sdk_would_export(
    story: Callable[[Tracer], Span], limits: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in limits.items():
        monkeypatch.setenv(variable, value)
    theirs = tell(story, lambda provider, _: provider.get_tracer("moorage", "1"))
    ours = tell(story, lambda provider, processor: EndpointTracer(provider, processor, SpanLimits(), "1"))
    assert sent(ours) == sent(theirs)


def test_a_processor_that_joins_later_sees_spans_start_and_end() -> None:
    seen: list[str] = []

    class Marks(SpanProcessor):
        def on_start(self, span: Any, parent_context: object = None) -> None:
            span.set_attribute("tenant", "t1")
            seen.append(f"start {span.name} {dict(span.attributes)}")

        def on_end(self, span: ReadableSpan) -> None:
            seen.append(f"end {span.name} {dict(span.attributes or {})}")

    processor = SynchronousMultiSpanProcessor()
    provider = TracerProvider(shutdown_on_exit=False, active_span_processor=processor)
    tracer = EndpointTracer(provider, processor, SpanLimits(), "1")
    provider.add_span_processor(Marks())
    with tracer.start_as_current_span("call") as span:
        assert span.is_recording()
    assert seen == ["start call {'tenant': 't1'}", "end call {'tenant': 't1'}"]


def test_an_exception_inside_a_current_span_leaves_no_text_behind() -> None:
    exporter = InMemorySpanExporter()
    processor = SynchronousMultiSpanProcessor()
    processor.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = EndpointTracer(TracerProvider(shutdown_on_exit=False, active_span_processor=processor), processor, SpanLimits(), "1")
    with pytest.raises(LookupError), tracer.start_as_current_span("call"):
        raise LookupError("secret")
    (span,) = exporter.get_finished_spans()
    assert "secret" not in span.to_json()
