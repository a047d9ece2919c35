"""What watching one call costs, part by part, in microseconds of CPU on this machine.

Run it with `.venv/bin/python bench/observation.py`. Spans go to the batch processor and an exporter that drops them, measurements to
the reader of /metrics, log lines to /dev/null: an exporter's own work is not in these figures. Each figure is the best of several
rounds, since what disturbs a round only adds to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast
from unittest.mock import patch

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracer, SpanKind, Tracer
from structlog.typing import FilteringBoundLogger

from moorage.settings import TelemetrySettings
from moorage.telemetry import bootstrap, logs
from moorage.telemetry.bootstrap.sampling import BoundarySampler
from moorage.telemetry.bootstrap.spans import EndpointTracer
from moorage.telemetry.environment import Sampling
from moorage.telemetry.instruments import Instruments
from moorage.telemetry.observer import Observer

ROUNDS = 15
CALLS = 1500
SCOPE = {"method": "POST", "path": "/mcp", "scheme": "http", "http_version": "1.1", "client": ("10.0.0.7", 51234)}
HEADERS = {b"host": b"mcp.example.com", b"user-agent": b"bench/1.0", b"content-type": b"application/json"}
META = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


class Dropped(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


def provider(ratio: float = 1.0) -> tuple[TracerProvider, EndpointTracer]:
    processor = SynchronousMultiSpanProcessor()
    processor.add_span_processor(BatchSpanProcessor(Dropped(), max_queue_size=200_000, max_export_batch_size=100_000))
    tracers = TracerProvider(BoundarySampler(Sampling(ratio, True)), shutdown_on_exit=False, active_span_processor=processor)
    return tracers, EndpointTracer(tracers, processor, SpanLimits(), "bench")


def cost(action: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(CALLS):
            action()
        best = min(best, time.thread_time() - started)
    return best / CALLS * 1e6


def call(observer: Observer, meta: dict[str, str] | None = None) -> Callable[[], None]:
    def observed() -> None:
        exchange = observer.exchange(SCOPE, HEADERS)
        exchange.principal = "bench"
        operation = exchange.message(
            method="tools/call", target="add", uri=None, request_id=17, protocol_version="2026-07-28", session_id=None, meta=meta
        )
        operation.finish("ok")
        exchange.finish(200)

    return observed


def main() -> None:
    with Path("/dev/null").open("w") as sink:
        logs.configure("info", "json", sink)
        log = logs.get_logger("moorage.mcp")
        silent = logs.get_logger("moorage.silent")
        with patch.dict("os.environ", {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}):
            telemetry = bootstrap.start(TelemetrySettings(), service_name="bench", version="0", set_global=False)
        cells = telemetry.instruments
        standard_meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
        standard_instruments = Instruments(standard_meters.get_meter("bench"), version="0")
        tracers, tracer = provider()
        _, unsampled = provider(0.0)
        attributes = {f"attribute.{number}": "value" for number in range(10)}
        labels = ("tools/call", "add", None, "execute_tool", "2026-07-28", "ok", None, None)
        facts = {
            "method": "tools/call",
            "tool": "add",
            "outcome": "ok",
            "ms": 1.234,
            "principal": "bench",
            "protocol": "2026-07-28",
            "trace_id": "0" * 32,
        }

        def span(of: Tracer) -> Callable[[], None]:
            def one() -> None:
                started = of.start_span("tools/call add", None, SpanKind.SERVER, attributes)
                started.set_attribute("moorage.outcome", "ok")
                started.end()

            return one

        context = tracer.start_span("parent").get_span_context()
        quiet = cast(FilteringBoundLogger, _Quiet())
        rows: list[tuple[str, Callable[[], object]]] = [
            ("span, the SDK's", span(tracers.get_tracer("bench"))),
            ("span, the endpoint's", span(tracer)),
            ("span, not sampled", span(unsampled)),
            ("histogram, the SDK's", lambda: standard_instruments.operation.record(0.01, labels, context)),
            ("histogram, the endpoint's", lambda: cells.operation.record(0.01, labels, context)),
            ("log line", lambda: log.info("mcp.request", **facts)),
            ("log line below the level", lambda: silent.debug("mcp.request", **facts)),
            ("", lambda: None),
            (
                "one call: SDK's spans and histograms, log",
                call(Observer(tracer=tracers.get_tracer("b"), instruments=standard_instruments, log=log)),
            ),
            ("one call: all", call(Observer(tracer=tracer, instruments=cells, log=log))),
            ("one call: all, with the caller's trace and a link", call(Observer(tracer=tracer, instruments=cells, log=log), META)),
            ("one call: not sampled", call(Observer(tracer=unsampled, instruments=cells, log=log))),
            ("one call: no tracing", call(Observer(tracer=NoOpTracer(), instruments=cells, log=log))),
            ("one call: no tracing, no log", call(Observer(tracer=NoOpTracer(), instruments=cells, log=quiet))),
        ]
        for name, action in rows:
            print(f"{name:52}{cost(action):7.1f} us" if name else "")


class _Quiet:
    """A logger that is switched off."""

    def info(self, *_: object, **__: object) -> None: ...

    debug = warning = info


if __name__ == "__main__":
    main()
