"""The endpoint's histograms against the SDK's own: the same values make the same data, however it is read."""

from __future__ import annotations

import random
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from moorage.telemetry.bootstrap.histograms import Cells
from moorage.telemetry.bootstrap.readers import OpenMetricsReader, OtlpReader
from moorage.telemetry.instruments import OPERATION, Instruments

SAMPLED = SpanContext(7, 8, False, TraceFlags(1))
LABELS = [("tools/call", name, None, "execute_tool", "2026-07-28", "ok", None, None) for name in ("add", "find")]


class Kept(MetricExporter):
    def __init__(self, temporality: AggregationTemporality) -> None:
        super().__init__(preferred_temporality={Histogram: temporality})
        self.batches: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self.batches.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        return None


def told(data: MetricsData) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What a backend stores of operation durations, without the times and min and max."""
    points: list[Any] = [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == OPERATION.name
        for point in metric.data.data_points
    ]
    return {
        tuple(sorted(point.attributes.items())): (
            point.count,
            tuple(point.bucket_counts),
            tuple(point.explicit_bounds),
            pytest.approx(point.sum),
        )
        for point in points
    }


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_the_same_values_make_the_same_data(temporality: AggregationTemporality) -> None:
    delta = temporality is AggregationTemporality.DELTA
    batches = []
    for fast in (True, False):
        dice = random.Random(1)
        cells = Cells(InstrumentationScope("moorage", "1"), exemplars=True)
        kept = Kept(temporality)
        reader = OtlpReader(kept, cells, delta=delta)
        meters = MeterProvider([reader], shutdown_on_exit=False)
        instruments = Instruments(meters.get_meter("moorage", "1"), version="1", histograms=cells.histogram if fast else None)
        for labels in ([LABELS[0]], LABELS, [LABELS[1]], []):
            for _ in range(200):
                for label in labels:
                    instruments.operation.record(dice.choice([0, 0.01, 0.0100001, 300, 301, dice.expovariate(1)]), label, SAMPLED)
            reader.collect()
        batches.append(kept.batches)
        reader.shutdown()
    ours, theirs = batches
    assert [told(batch) for batch in ours] == [told(batch) for batch in theirs]
    assert len(told(ours[3])) == (0 if delta else 2)
    for batch in ours:
        (resource,) = encode_metrics(batch).resource_metrics
        assert len(resource.scope_metrics) == 1


def test_deltas_follow_each_other_without_gap_or_overlap() -> None:
    cells = Cells(InstrumentationScope("moorage", "1"), exemplars=True)
    kept = Kept(AggregationTemporality.DELTA)
    reader = OtlpReader(kept, cells, delta=True)
    instruments = Instruments(
        MeterProvider([reader], shutdown_on_exit=False).get_meter("moorage", "1"), version="1", histograms=cells.histogram
    )
    points = []
    for _ in range(3):
        instruments.operation.record(1.0, LABELS[0], INVALID_SPAN_CONTEXT)
        reader.collect()
        metrics = kept.batches[-1].resource_metrics[0].scope_metrics[0].metrics
        points.append(next(metric for metric in metrics if metric.name == OPERATION.name).data.data_points[0])
    assert [point.count for point in points] == [1, 1, 1]
    assert [point.time_unix_nano for point in points[:-1]] == [point.start_time_unix_nano for point in points[1:]]
    reader.shutdown()


@pytest.mark.parametrize(("enabled", "span", "expected"), [(True, SAMPLED, [8]), (False, SAMPLED, []), (True, INVALID_SPAN_CONTEXT, [])])
def test_an_exemplar_points_to_a_sampled_span_once(enabled: bool, span: SpanContext, expected: list[int]) -> None:
    cells = Cells(InstrumentationScope("moorage", "1"), exemplars=enabled)
    kept = Kept(AggregationTemporality.CUMULATIVE)
    reader = OtlpReader(kept, cells, delta=False)
    text = OpenMetricsReader(cells)
    meters = MeterProvider([reader, text], shutdown_on_exit=False)
    Instruments(meters.get_meter("moorage", "1"), version="1", histograms=cells.histogram).operation.record(1.0, LABELS[0], span)
    text.render()  # a scrape, which has no exemplars, does not take them from the exporter
    seen = []
    for _ in range(2):
        reader.collect()
        points = [m.data.data_points[0] for m in kept.batches[-1].resource_metrics[0].scope_metrics[0].metrics if m.name == OPERATION.name]
        seen.append([exemplar.span_id for exemplar in points[0].exemplars])
    assert seen == [expected, []]
    reader.shutdown()


def test_labels_beyond_the_limit_are_counted_together() -> None:
    cells = Cells(InstrumentationScope("moorage", "1"), exemplars=True)
    text = OpenMetricsReader(cells)
    meters = MeterProvider([text], shutdown_on_exit=False)
    instruments = Instruments(meters.get_meter("moorage", "1"), version="1", histograms=cells.histogram)
    for number in range(2100):
        instruments.operation.record(1.0, (f"method.{number}", None, None, None, None, None, None, None), INVALID_SPAN_CONTEXT)
    families = {family.name: family for family in text_string_to_metric_families(text.render()[1].decode())}
    counts = [sample for sample in families["mcp_server_operation_duration_seconds"].samples if sample.name.endswith("_count")]
    overflow = [sample.value for sample in counts if sample.labels.get("otel_metric_overflow") == "true"]
    assert (len(counts), overflow) == (2001, [100])


def test_a_scrape_is_open_metrics_with_units_and_one_family_a_name() -> None:
    cells = Cells(InstrumentationScope("moorage", "1"), exemplars=True)
    text = OpenMetricsReader(cells)
    meters = MeterProvider([text], shutdown_on_exit=False)
    instruments = Instruments(meters.get_meter("moorage", "1"), version="9.9", histograms=cells.histogram)
    instruments.request.record(0.2, ("POST", "http", "/mcp", 200, "1.1", None), INVALID_SPAN_CONTEXT)
    other = meters.get_meter("opentelemetry.instrumentation.fastapi", "1")
    other.create_histogram("http.server.request.duration", "s", "Duration of HTTP server requests.").record(0.1, {"http.route": "/"})
    instruments.refused(401, "unauthenticated")
    kind, body = text.render()
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert families["moorage_refusals"].samples[0].value == 1
    assert families["moorage_build_info"].samples[0].labels["version"] == "9.9"
    routes = {s.labels["http_route"] for s in families["http_server_request_duration_seconds"].samples if s.name.endswith("_count")}
    assert routes == {"/mcp", "/"}
    assert body.endswith(b"# EOF\n")
