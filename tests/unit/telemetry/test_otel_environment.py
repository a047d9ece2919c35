"""The OTEL_* variables, as a plan."""

from __future__ import annotations

import pytest

from moorage.errors import SettingsError
from moorage.settings import TelemetrySettings
from moorage.telemetry.environment import Plan, Sampling, read_plan

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def plan(**environ: str) -> Plan:
    return read_plan(environ, TelemetrySettings())


def test_without_an_endpoint_nothing_is_exported() -> None:
    assert (plan().traces, plan().metrics) == (None, None)
    assert (plan(OTEL_TRACES_EXPORTER="otlp").traces, plan(OTEL_EXPORTER_OTLP_ENDPOINT=" ").traces) == (None, None)


def test_an_endpoint_for_all_or_for_one_signal_exports_it() -> None:
    everything = plan(**ENDPOINT)
    assert (everything.traces, everything.metrics) == ("http/protobuf", "http/protobuf")
    only_traces = plan(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://collector/v1/traces")
    assert (only_traces.traces, only_traces.metrics) == ("http/protobuf", None)


def test_a_signal_is_switched_off_by_its_variable_or_its_setting() -> None:
    assert plan(**ENDPOINT, OTEL_TRACES_EXPORTER="none").traces is None
    assert plan(**ENDPOINT, OTEL_METRICS_EXPORTER="prometheus").metrics is None
    assert plan(**ENDPOINT, OTEL_METRICS_EXPORTER="otlp,prometheus").metrics == "http/protobuf"
    settings = TelemetrySettings(traces=False, metrics=False)
    assert (read_plan(ENDPOINT, settings).traces, read_plan(ENDPOINT, settings).metrics) == (None, None)


def test_the_protocol_of_a_signal_wins_over_the_common_one() -> None:
    chosen = plan(**ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="http/protobuf")
    assert (chosen.traces, chosen.metrics) == ("grpc", "http/protobuf")
    assert plan(OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc").traces == "grpc"


def test_a_disabled_sdk_does_nothing() -> None:
    disabled = plan(**ENDPOINT, OTEL_SDK_DISABLED=" TRUE ")
    assert (disabled.enabled, disabled.traces, disabled.metrics) == (False, None, None)


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("", "", Sampling(1.0, True)),
        ("always_on", "", Sampling(1.0, False)),
        ("always_off", "", Sampling(0.0, False)),
        ("traceidratio", "0.25", Sampling(0.25, False)),
        ("parentbased_traceidratio", "0.5", Sampling(0.5, True)),
        ("parentbased_traceidratio", "", Sampling(1.0, True)),
        ("PARENTBASED_ALWAYS_OFF", "", Sampling(0.0, True)),
    ],
)
def test_every_standard_sampler_is_known(name: str, argument: str, expected: Sampling) -> None:
    assert plan(OTEL_TRACES_SAMPLER=name, OTEL_TRACES_SAMPLER_ARG=argument).sampling == expected


def test_how_histograms_are_sent_can_be_chosen() -> None:
    assert plan(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="DELTA").delta_histograms
    assert plan(OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="base2_exponential_bucket_histogram").exponential_histograms
    assert plan().exemplars
    assert not plan(OTEL_METRICS_EXEMPLAR_FILTER="always_off").exemplars


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:port"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_TRACES_SAMPLER_ARG", "half"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_its_name(variable: str, value: str) -> None:
    environ = ENDPOINT | {"OTEL_TRACES_SAMPLER": "traceidratio", variable: value}
    with pytest.raises(SettingsError) as refused:
        read_plan(environ, TelemetrySettings())
    assert variable in refused.value.message
    assert refused.value.hint
    assert "\n" not in refused.value.message
