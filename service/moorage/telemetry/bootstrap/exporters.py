"""The OTLP exporters, imported only when something is exported: they are the slowest part of a start."""

from __future__ import annotations

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import SpanExporter

from moorage.errors import SettingsError
from moorage.telemetry.environment import Protocol


def span_exporter(protocol: Protocol) -> SpanExporter:
    """Return the exporter of spans. It reads its endpoint, headers and time-outs from OTEL_*.

    Raises:
        SettingsError: gRPC was asked for and is not installed.
    """
    if protocol == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        except ImportError as missing:
            raise _no_grpc() from missing
        return OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def metric_exporter(protocol: Protocol) -> MetricExporter:
    """Return the exporter of measurements; see `span_exporter`."""
    if protocol == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        except ImportError as missing:
            raise _no_grpc() from missing
        return OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter()


def _no_grpc() -> SettingsError:
    return SettingsError("OTLP over gRPC was asked for and its exporter is not installed", "install moorage[grpc], or use http/protobuf")
