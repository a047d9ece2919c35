"""Who collects the measurements: the OTLP exporter from time to time, and whoever asks for /metrics.

Owns both readers, with our histograms added to what the SDK collects, and the OpenMetrics text. Both may collect at once: each sees
cells its own way.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, cast

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Histogram, Metric, MetricExporter, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest  # pyright: ignore[reportUnknownVariableType]

from moorage.telemetry.bootstrap import histograms
from moorage.telemetry.bootstrap.histograms import Cells

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_FASTAPI: Final = "opentelemetry.instrumentation.fastapi"
_NOT_THEIRS: Final = ("http.server.active_requests", "http.server.request.body.size", "http.server.response.body.size")

VIEWS: Final[Sequence[View]] = tuple(View(instrument_name=name, meter_name=_FASTAPI, aggregation=DropAggregation()) for name in _NOT_THEIRS)
"""FastAPI's instrumentation measures durations for us; what else it measures would collide with ours."""


class OtlpReader(PeriodicExportingMetricReader):
    """The SDK's periodic reader, cells included."""

    def __init__(self, exporter: MetricExporter, cells: Cells, *, delta: bool) -> None:
        self._cells = cells
        self._cell_view = histograms.View(delta=delta, exemplars=True)
        super().__init__(exporter)

    def _receive_metrics(  # the SDK's documented point of extension
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        super()._receive_metrics(  # pyright: ignore[reportUnknownMemberType]
            self._cells.add_to(metrics_data, self._cell_view), timeout_millis, **kwargs
        )


class OpenMetricsReader(PrometheusMetricReader):
    """Answers a scrape, from a registry of its own."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._cell_view = histograms.View(delta=False, exemplars=False)
        self._one_at_a_time = threading.Lock()
        self._private_registry = CollectorRegistry(auto_describe=False)
        super().__init__(scope_info_enabled=False, registry=self._private_registry)

    def render(self) -> tuple[str, bytes]:
        """Collect, and return content type and text."""
        with self._one_at_a_time:
            return CONTENT_TYPE, cast(bytes, generate_latest(self._private_registry))

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(  # pyright: ignore[reportUnknownMemberType]
            _fold(self._cells.add_to(metrics_data, self._cell_view)), timeout_millis, **kwargs
        )


def _fold(data: MetricsData) -> MetricsData:
    """Put histograms of one name into one family: FastAPI's and ours differ in scope alone, which the text does not show."""
    resource, *_ = data.resource_metrics
    families: dict[str, Metric] = {}
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            known = families.get(metric.name)
            if known is not None and isinstance(known.data, Histogram) and isinstance(metric.data, Histogram):
                points = [*known.data.data_points, *metric.data.data_points]
                metric = replace(known, data=replace(known.data, data_points=points))
            families[metric.name] = metric
    return MetricsData([replace(resource, scope_metrics=[replace(resource.scope_metrics[0], metrics=list(families.values()))])])
