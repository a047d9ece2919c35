"""Builds the OpenTelemetry SDK behind the API that the rest of the service uses, and takes it down.

The only room that imports the SDK, exporters and the Prometheus client. Call `start` in the process that serves, after the fork: its
threads and its instance id belong to that process. Promises that nothing is exported, and no exporter imported or thread started,
unless an endpoint is configured; that /metrics works in any case; and that `shutdown` neither blocks the event loop nor outlasts its
time, whatever the collector does.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, propagate, trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import MeterProvider as ApiMeterProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NoOpTracer, NoOpTracerProvider, Span, Tracer
from opentelemetry.trace import TracerProvider as ApiTracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from moorage.errors import SettingsError
from moorage.lifecycle.parts import Parts, installed, missing
from moorage.settings import TelemetrySettings
from moorage.telemetry.bootstrap import exporters
from moorage.telemetry.bootstrap.histograms import Cells
from moorage.telemetry.bootstrap.readers import CONTENT_TYPE, VIEWS, OpenMetricsReader, OtlpReader
from moorage.telemetry.bootstrap.resource import describe
from moorage.telemetry.bootstrap.sampling import BoundarySampler
from moorage.telemetry.bootstrap.spans import EndpointTracer
from moorage.telemetry.environment import Plan, read_plan
from moorage.telemetry.instruments import Instruments
from moorage.telemetry.logs import get_logger

if TYPE_CHECKING:
    from fastapi import FastAPI

OPENTELEMETRY_PARTS: Final[Parts] = {
    PeriodicExportingMetricReader: ("_receive_metrics",),
    PrometheusMetricReader: ("_receive_metrics",),
    MetricsData: ("resource_metrics",),
    SynchronousMultiSpanProcessor: ("add_span_processor", "on_end", "on_start"),
    TracerProvider: ("id_generator", "resource", "sampler"),
    IdGenerator: ("generate_span_id", "generate_trace_id", "is_trace_id_random"),
    SpanLimits: (
        "max_attribute_length",
        "max_event_attributes",
        "max_events",
        "max_link_attributes",
        "max_links",
        "max_span_attribute_length",
        "max_span_attributes",
    ),
    ReadableSpan: (
        "name",
        "context",
        "parent",
        "resource",
        "attributes",
        "events",
        "links",
        "kind",
        "instrumentation_info",
        "status",
        "start_time",
        "end_time",
        "instrumentation_scope",
    ),
    BoundedAttributes: ("maxlen", "immutable", "max_value_len"),
}
"""What is relied on of the SDK's inside: histograms and spans of our own go through it."""

_NOTHING_TO_SHOW: Final = b"# EOF\n"
_log = get_logger("moorage.telemetry")
_already_global: list[bool] = []


@dataclass(slots=True)
class Telemetry:
    """The telemetry of this process.

    Attributes:
        tracer: For the endpoint's own spans; a no-op where no traces are exported.
        tracer_provider: For everybody else's; set globally.
        meter_provider: The same for measurements.
        instruments: What the service measures.
    """

    tracer: Tracer
    tracer_provider: ApiTracerProvider
    meter_provider: ApiMeterProvider
    instruments: Instruments
    _metrics_text: OpenMetricsReader | None
    _shutdowns: list[Callable[[], object]]
    _flushes: list[Future[None]] = field(default_factory=list[Future[None]])
    _begins: threading.Lock = field(default_factory=threading.Lock)

    def render_metrics(self) -> tuple[str, bytes]:
        """Return content type and OpenMetrics text. Takes milliseconds, does no I/O."""
        return (CONTENT_TYPE, _NOTHING_TO_SHOW) if self._metrics_text is None else self._metrics_text.render()

    def instrument_fastapi(self, app: FastAPI) -> None:
        """Trace and measure what FastAPI itself serves. The endpoint is answered before FastAPI and observes itself."""
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(
            app,
            tracer_provider=self.tracer_provider,
            meter_provider=self.meter_provider,
            exclude_spans=["send", "receive"],
            server_request_hook=_hide_query,
        )
        if app.middleware_stack is not None:  # built already: the lifespan that calls this runs inside it
            app.middleware_stack = app.build_middleware_stack()

    async def shutdown(self, timeout_seconds: float) -> None:
        """Send what has not been sent, for at most this long. What a collector does not take by then is lost.

        The lifespan calls it, and where that is late the exit deadline on a thread and loop of its own. The second waits for what the
        first has begun: if it did not, the process would end under it.
        """
        flushes = [asyncio.wrap_future(flush) for flush in self._begin_flushes()]
        late = (await asyncio.wait(flushes, timeout=timeout_seconds))[1] if flushes else ()
        if late:
            _log.warning("telemetry.flush_late", seconds=timeout_seconds)

    def _begin_flushes(self) -> list[Future[None]]:
        with self._begins:
            for stop in self._shutdowns:
                self._flushes.append(flush := Future())
                threading.Thread(target=_flush, args=(stop, flush), name="telemetry-flush", daemon=True).start()
            self._shutdowns.clear()
            return self._flushes


def start(
    settings: TelemetrySettings,
    *,
    service_name: str,
    version: str,
    instance_id: str | None = None,
    set_global: bool = True,
    sealed: Callable[[], Mapping[str, int]] = dict,
) -> Telemetry:
    """Build what the OTEL_* variables and the settings ask for.

    Args:
        settings: The section `telemetry`.
        service_name: service.name when neither settings nor OTEL_* name one.
        version: service.version.
        instance_id: service.instance.id; by default the pod's uid or the host's name, and the process id.
        set_global: Make the providers the ones that tools find through the OpenTelemetry API. Possible once a process.
        sealed: How many messages were sealed, by purpose.

    Raises:
        SettingsError: A variable has a value that cannot be meant.
    """
    plan = read_plan(os.environ, settings)
    if not plan.enabled:
        return _disabled(version)
    if gone := missing(OPENTELEMETRY_PARTS):
        _log.warning("telemetry.sdk_changed", sdk=installed("opentelemetry-sdk"), missing=gone, effect="nothing is measured or traced")
        return _disabled(version)
    resource = describe(os.environ, setting=settings.service_name, service_name=service_name, version=version, instance_id=instance_id)
    try:
        telemetry = _build(plan, resource, version, sealed)
    except ValueError as wrong:  # the SDK's own words for a number it cannot use
        raise SettingsError(f"an OTEL_* variable cannot be used: {wrong}") from wrong
    if set_global:
        _set_global(telemetry)
    return telemetry


def _build(plan: Plan, resource: Resource, version: str, sealed: Callable[[], Mapping[str, int]]) -> Telemetry:
    scope = InstrumentationScope("moorage", version)
    cells = Cells(scope, exemplars=plan.exemplars)
    text = OpenMetricsReader(cells)
    readers: list[MetricReader] = [text]
    shutdowns: list[Callable[[], object]] = []
    if plan.metrics is not None:
        readers.append(OtlpReader(exporters.metric_exporter(plan.metrics), cells, delta=plan.delta_histograms))
    meters = MeterProvider(readers, resource, views=VIEWS, shutdown_on_exit=False)
    factory = None if plan.exponential_histograms else cells.histogram
    instruments = Instruments(meters.get_meter(scope.name, version), version=version, histograms=factory, sealed=sealed)
    if plan.metrics is not None:
        shutdowns.append(meters.shutdown)
    if plan.traces is None:
        return Telemetry(NoOpTracer(), NoOpTracerProvider(), meters, instruments, text, shutdowns)
    processor = SynchronousMultiSpanProcessor()
    processor.add_span_processor(BatchSpanProcessor(exporters.span_exporter(plan.traces), meter_provider=meters))
    limits = SpanLimits()
    tracers = TracerProvider(BoundarySampler(plan.sampling), resource, False, processor, span_limits=limits, meter_provider=meters)
    shutdowns.append(tracers.shutdown)
    return Telemetry(EndpointTracer(tracers, processor, limits, version), tracers, meters, instruments, text, shutdowns)


def _disabled(version: str) -> Telemetry:
    meters = NoOpMeterProvider()
    instruments = Instruments(meters.get_meter("moorage"), version=version)
    return Telemetry(NoOpTracer(), NoOpTracerProvider(), meters, instruments, None, [])


def _set_global(telemetry: Telemetry) -> None:
    """Let tools find the providers through the API. What the host process or an earlier start has set stays."""
    if _already_global:
        return
    _already_global.append(True)
    metrics.set_meter_provider(telemetry.meter_provider)
    if not isinstance(telemetry.tracer_provider, NoOpTracerProvider):
        trace.set_tracer_provider(telemetry.tracer_provider)
    if "OTEL_PROPAGATORS" not in os.environ:  # the API's default would carry a caller's baggage into the process and out again
        propagate.set_global_textmap(TraceContextTextMapPropagator())


def _flush(stop: Callable[[], object], ended: Future[None]) -> None:
    try:
        stop()
    except Exception as failure:  # boundary: protects the exit of the process from whatever an exporter does
        _log.warning("telemetry.flush_failed", error=type(failure).__name__)
    ended.set_result(None)


def _hide_query(span: Span, scope: dict[str, Any]) -> None:
    """Leave the query out of a span: clients put keys there."""
    if scope.get("query_string") and span.is_recording():
        span.set_attribute("url.query", "[redacted]")
