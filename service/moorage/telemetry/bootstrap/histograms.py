"""Histograms for every call: what the SDK's are, at a tenth of their cost.

The SDK validates, copies and hashes the attributes of every value. Labels here come as a tuple in the order of the histogram's keys,
so finding their cell is one look-up. Owns the cells and adds them to what the SDK collected, as the SDK's own data and with the
reader's temporality; exporters cannot tell the difference, except that min and max (optional, and of little use when cumulative) are
left out.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from time import time_ns
from typing import Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint, Metric, MetricsData
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from moorage.telemetry.instruments import HistogramSpec, Labels

_MAX_CELLS: Final = 2000  # the SDK's own limit; what comes after is counted together
_OVERFLOW: Final = {"otel.metric.overflow": True}
_SAMPLED: Final = int(TraceFlags.SAMPLED)


class _Cell:
    __slots__ = ("attributes", "counts", "exemplars", "started", "sum")

    def __init__(self, attributes: dict[str, Any], buckets: int) -> None:
        self.attributes = attributes
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0
        self.exemplars: dict[int, tuple[float, int, int, int]] = {}
        self.started = time_ns()


class CellHistogram:
    """Counts values into cells, one for each combination of labels."""

    def __init__(self, spec: HistogramSpec, *, exemplars: bool) -> None:
        self.spec = spec
        self._exemplars = _SAMPLED if exemplars else 0
        self._lock = threading.Lock()
        self._cells: dict[Labels | None, _Cell] = {}

    def record(self, value: float, labels: Labels, span: SpanContext) -> None:
        """See `instruments.Histogram.record`."""
        cell = self._cells.get(labels) or self._cell(labels)
        bucket = bisect_left(self.spec.buckets, value)
        with self._lock:
            cell.counts[bucket] += 1
            cell.sum += value
            if span.trace_flags & self._exemplars:
                cell.exemplars[bucket] = (value, time_ns(), span.span_id, span.trace_id)

    def collect(self, view: View) -> Metric | None:
        """Return the data for one reader, or None when there is nothing to tell it."""
        now = time_ns()
        with self._lock:
            points = [view.point(self.spec, labels, cell, now) for labels, cell in self._cells.items()]
        told = [point for point in points if point is not None]
        return Metric(self.spec.name, self.spec.description, self.spec.unit, Histogram(told, view.temporality)) if told else None

    def _cell(self, labels: Labels) -> _Cell:
        with self._lock:
            if len(self._cells) >= _MAX_CELLS and labels not in self._cells:
                return self._cells.setdefault(None, _Cell(_OVERFLOW, len(self.spec.buckets)))
            attributes = {key: label for key, label in zip(self.spec.keys, labels, strict=True) if label is not None}
            return self._cells.setdefault(labels, _Cell(attributes, len(self.spec.buckets)))


class View:
    """How one reader sees cells: since the start, or since it last looked."""

    def __init__(self, *, delta: bool, exemplars: bool) -> None:
        self.temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        self._exemplars = exemplars
        self._seen: dict[tuple[str, Labels | None], tuple[list[int], float, int]] = {}

    def point(self, spec: HistogramSpec, labels: Labels | None, cell: _Cell, now: int) -> HistogramDataPoint | None:
        """Return a cell as a data point; called under the histogram's lock."""
        counts, total, started = cell.counts.copy(), cell.sum, cell.started
        if self.temporality is AggregationTemporality.DELTA:
            before, before_total, since = self._seen.get((spec.name, labels), ([0] * len(counts), 0.0, started))
            self._seen[spec.name, labels] = (counts, total, now)
            counts, total, started = [a - b for a, b in zip(counts, before, strict=True)], total - before_total, since
            if not any(counts):
                return None
        return HistogramDataPoint(
            attributes=cell.attributes,
            start_time_unix_nano=started,
            time_unix_nano=now,
            count=sum(counts),
            sum=total,
            bucket_counts=counts,
            explicit_bounds=spec.buckets,
            min=None,  # pyright: ignore[reportArgumentType]  # optional in the protocol
            max=None,  # pyright: ignore[reportArgumentType]
            exemplars=self._take_exemplars(cell),
        )

    def _take_exemplars(self, cell: _Cell) -> Sequence[Exemplar]:
        if not self._exemplars:
            return []
        taken = [Exemplar({}, value, when, span_id, trace_id) for value, when, span_id, trace_id in cell.exemplars.values()]
        cell.exemplars.clear()
        return taken


class Cells:
    """The cell histograms of a process: makes them, and adds them to what the SDK collected."""

    def __init__(self, scope: InstrumentationScope, *, exemplars: bool) -> None:
        self._scope = scope
        self._exemplars = exemplars
        self._histograms: list[CellHistogram] = []

    def histogram(self, spec: HistogramSpec) -> CellHistogram:
        """Make a histogram; an `instruments.HistogramFactory`."""
        histogram = CellHistogram(spec, exemplars=self._exemplars)
        self._histograms.append(histogram)
        return histogram

    def add_to(self, data: MetricsData, view: View) -> MetricsData:
        """Return the data with ours in it, under our scope."""
        ours = [metric for histogram in self._histograms if (metric := histogram.collect(view)) is not None]
        resource, *others = data.resource_metrics
        scopes = [
            replace(scope, metrics=[*scope.metrics, *ours]) if scope.scope == self._scope else scope for scope in resource.scope_metrics
        ]
        return MetricsData([replace(resource, scope_metrics=scopes), *others])
