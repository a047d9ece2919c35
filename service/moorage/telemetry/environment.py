"""The OTEL_* variables and the settings of telemetry, read once into a plan.

Owns which signals are exported, by which protocol, and how spans are sampled. Knows nothing of the SDK, so that a start can be refused
before anything slow is imported. What only tunes an exporter (headers, certificates, compression, time-outs, queue sizes, intervals,
limits) is left to the SDK, which reads it by itself.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from moorage.errors import SettingsError
from moorage.settings import TelemetrySettings

Protocol = Literal["http/protobuf", "grpc"]

_PROTOCOLS: Final[tuple[Protocol, ...]] = ("http/protobuf", "grpc")
_EXPORTERS: Final = {"TRACES": ("otlp", "none"), "METRICS": ("otlp", "prometheus", "none")}  # /metrics is always there
_SAMPLERS: Final = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}
_EXPONENTIAL: Final = "base2_exponential_bucket_histogram"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which share of traces is recorded, and whether a caller that does not record its trace is followed."""

    ratio: float
    parent_based: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build. A protocol is None where nothing is exported."""

    enabled: bool
    traces: Protocol | None
    metrics: Protocol | None
    sampling: Sampling
    exponential_histograms: bool
    delta_histograms: bool
    exemplars: bool


def read_plan(environ: Mapping[str, str], settings: TelemetrySettings) -> Plan:
    """Read the plan.

    Raises:
        SettingsError: A variable has a value that cannot be meant.
    """
    enabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
    return Plan(
        enabled=enabled,
        traces=_protocol(environ, "TRACES") if enabled and settings.traces else None,
        metrics=_protocol(environ, "METRICS") if enabled and settings.metrics else None,
        sampling=_sampling(environ),
        exponential_histograms=_value(environ, "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "") == _EXPONENTIAL,
        delta_histograms=_value(environ, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "") in {"delta", "lowmemory"},
        exemplars=_value(environ, "OTEL_METRICS_EXEMPLAR_FILTER", "trace_based") != "always_off",
    )


def _protocol(environ: Mapping[str, str], signal: str) -> Protocol | None:
    """Return how a signal is exported, or None when it is not: nobody is guessed to listen on localhost."""
    variable = f"OTEL_{signal}_EXPORTER"
    exporters = {name.strip() for name in _value(environ, variable, "otlp").split(",")}
    if unknown := exporters - set(_EXPORTERS[signal]):
        raise SettingsError(f"{variable}={unknown.pop()!r} is not supported", f"use one of: {', '.join(_EXPORTERS[signal])}")
    endpoint_variable = next(
        (name for name in (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") if environ.get(name, "").strip()), None
    )
    if "otlp" not in exporters or endpoint_variable is None:
        return None
    name = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    if not environ.get(name, "").strip():
        name = "OTEL_EXPORTER_OTLP_PROTOCOL"
    wanted = _value(environ, name, "http/protobuf")
    for protocol in _PROTOCOLS:
        if protocol == wanted:
            _check_endpoint(endpoint_variable, environ[endpoint_variable].strip(), protocol)
            return protocol
    raise SettingsError(f"{name}={wanted!r} is not supported", f"use one of: {', '.join(_PROTOCOLS)}")


def _check_endpoint(variable: str, endpoint: str, protocol: Protocol) -> None:
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable and not (protocol == "grpc" and "://" not in endpoint):
        raise SettingsError(f"{variable} is not an http:// or https:// URL", "write it like http://collector.observability:4318")


def _sampling(environ: Mapping[str, str]) -> Sampling:
    name = _value(environ, "OTEL_TRACES_SAMPLER", "parentbased_always_on")
    if name not in _SAMPLERS:
        raise SettingsError(f"OTEL_TRACES_SAMPLER={name!r} is not supported", f"use one of: {', '.join(_SAMPLERS)}")
    parent_based, ratio = _SAMPLERS[name]
    if ratio is None:
        text = _value(environ, "OTEL_TRACES_SAMPLER_ARG", "1.0")
        try:
            ratio = float(text)
        except ValueError:
            ratio = -1.0
        if not 0.0 <= ratio <= 1.0:
            raise SettingsError(f"OTEL_TRACES_SAMPLER_ARG={text!r} is not a share of traces", "write a number from 0.0 to 1.0")
    return Sampling(ratio, parent_based)


def _value(environ: Mapping[str, str], name: str, default: str) -> str:
    return environ.get(name, "").strip().lower() or default
