"""A recorder that is the real pipeline with its ends in memory: the SDK's exporters and readers, and the log on a stream."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from moorage.telemetry import logs
from moorage.telemetry.bootstrap.histograms import Cells
from moorage.telemetry.bootstrap.readers import VIEWS, OtlpReader
from moorage.telemetry.bootstrap.sampling import BoundarySampler
from moorage.telemetry.bootstrap.spans import EndpointTracer
from moorage.telemetry.environment import Sampling
from moorage.telemetry.instruments import Instruments
from moorage.telemetry.observer import Observer


class KeptMetrics(MetricExporter):
    """Keeps the last batch."""

    def __init__(self) -> None:
        super().__init__()
        self.data: MetricsData | None = None

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self.data = metrics_data
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        return None


@dataclass
class Recorded:
    """What one test has caused."""

    observer: Observer
    provider: TracerProvider
    exporter: InMemorySpanExporter
    reader: OtlpReader
    kept: KeptMetrics
    stream: io.StringIO
    _told: list[dict[str, Any]] = field(default_factory=list)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def points(self, name: str) -> list[Any]:
        """Return the data points of an instrument as they are exported now."""
        self.reader.collect()
        assert self.kept.data is not None
        return [
            point
            for resource in self.kept.data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def record(stream: io.StringIO, sampling: Sampling) -> Recorded:
    exporter = InMemorySpanExporter()
    processor = SynchronousMultiSpanProcessor()
    processor.add_span_processor(SimpleSpanProcessor(exporter))
    provider = TracerProvider(BoundarySampler(sampling), shutdown_on_exit=False, active_span_processor=processor)
    cells = Cells(InstrumentationScope("moorage", "1"), exemplars=True)
    kept = KeptMetrics()
    reader = OtlpReader(kept, cells, delta=False)
    meters = MeterProvider([reader], shutdown_on_exit=False, views=VIEWS)
    instruments = Instruments(meters.get_meter("moorage", "1"), version="1", histograms=cells.histogram)
    tracer = EndpointTracer(provider, processor, SpanLimits(), "1")
    observer = Observer(tracer=tracer, instruments=instruments, log=logs.get_logger("moorage.mcp"))
    return Recorded(observer, provider, exporter, reader, kept, stream)


@pytest.fixture
def log_stream() -> Iterator[io.StringIO]:
    """Send the log of this test to a stream, and put everything back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def recorded(log_stream: io.StringIO) -> Iterator[Recorded]:
    """Record everything."""
    kept = record(log_stream, Sampling(1.0, True))
    yield kept
    kept.reader.shutdown()


@pytest.fixture
def unsampled(log_stream: io.StringIO) -> Iterator[Recorded]:
    """Record no trace."""
    kept = record(log_stream, Sampling(0.0, True))
    yield kept
    kept.reader.shutdown()
