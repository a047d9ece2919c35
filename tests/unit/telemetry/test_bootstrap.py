"""What is built, from which variables, and what is left alone."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import anyio
import httpx2
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NoOpTracer
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import moorage
from moorage.errors import SettingsError
from moorage.settings import TelemetrySettings
from moorage.telemetry import bootstrap
from tests.logged import logged

SOURCE = Path(moorage.__file__).parent
DEAD = "http://127.0.0.1:9"  # nobody listens on discard
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def start() -> bootstrap.Telemetry:
    return bootstrap.start(TelemetrySettings(), service_name="quickstart", version="1.2.3", set_global=False)


def python(program: str, **environ: str) -> dict[str, object]:
    """Run a program in a process of its own; it prints one JSON object."""
    import os

    prelude = "import json, sys, threading\nfrom moorage.telemetry import bootstrap\nfrom moorage.settings import TelemetrySettings\n"
    prelude += "telemetry = bootstrap.start(TelemetrySettings(), service_name='quickstart', version='1.2.3')\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ) | environ,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_bootstrap_imports_the_sdk_and_its_exporters() -> None:
    offenders = []
    for module in SOURCE.rglob("*.py"):
        if module.is_relative_to(SOURCE / "telemetry" / "bootstrap"):
            continue
        for node in ast.walk(ast.parse(module.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            offenders += [
                (module.name, name)
                for name in names
                if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "prometheus_client"))
            ]
    assert offenders == []


def test_without_an_endpoint_there_is_no_exporter_no_thread_and_still_a_scrape() -> None:
    seen = python("""
    telemetry.instruments.refused(401, "unauthenticated")
    kind, body = telemetry.render_metrics()
    slow = [name for name in ("requests", "opentelemetry.proto", "opentelemetry.exporter.otlp.proto.http", "grpc") if name in sys.modules]
    threads = [thread.name for thread in threading.enumerate()]
    print(json.dumps({"threads": threads, "slow": slow, "counted": "moorage_refusals_total" in body.decode()}))
    """)
    assert seen == {"threads": ["MainThread"], "slow": [], "counted": True}


def test_a_scrape_names_the_resource_and_the_build() -> None:
    kind, body = start().render_metrics()
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert kind.startswith("application/openmetrics-text")
    target = families["target"].samples[0].labels
    assert (target["service_name"], target["service_version"]) == ("quickstart", "1.2.3")
    assert families["moorage_build_info"].samples[0].labels["version"] == "1.2.3"
    assert families["moorage_process_start_time_seconds"].samples[0].value > 1.7e9


def test_a_disabled_sdk_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", DEAD)
    telemetry = start()
    telemetry.instruments.request.record(1.0, ("POST", "http", "/mcp", 200, "1.1", None), INVALID_SPAN_CONTEXT)
    assert isinstance(telemetry.tracer, NoOpTracer)
    assert telemetry.render_metrics()[1] == b"# EOF\n"


def test_exponential_histograms_are_the_sdks_own() -> None:
    seen = python(
        "print(json.dumps({'kind': type(telemetry.instruments.operation).__name__}))",
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="base2_exponential_bucket_histogram",
    )
    assert seen == {"kind": "MeterHistogram"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_BSP_MAX_QUEUE_SIZE", "1"), ("OTEL_METRIC_EXPORT_INTERVAL", "-1"), ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many")],
)
def test_a_number_that_the_sdk_cannot_use_is_a_settings_error(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", DEAD)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=r"an OTEL_\* variable"):
        start()


def test_grpc_without_its_extra_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", DEAD)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    for module in ("trace_exporter", "metric_exporter"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.exporter.otlp.proto.grpc.{module}", None)
    with pytest.raises(SettingsError) as refused:
        start()
    assert "moorage[grpc]" in refused.value.hint


def test_tools_find_the_providers_through_the_api_and_pass_on_no_baggage() -> None:
    seen = python(
        """
        from opentelemetry import metrics, propagate, trace
        metrics.get_meter("tool").create_counter("tool.queries").add(1)
        with trace.get_tracer("tool").start_as_current_span("query", attributes={"a": 1}) as span:
            pass
        scraped = telemetry.render_metrics()[1].decode()
        fields = sorted(propagate.get_global_textmap().fields)
        print(json.dumps({"recorded": dict(span.attributes), "counted": "tool_queries_total" in scraped, "fields": fields}))
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=DEAD,
    )
    assert seen == {"recorded": {"a": 1}, "counted": True, "fields": ["traceparent", "tracestate"]}


def test_an_operators_choice_of_propagators_stands() -> None:
    program = "from opentelemetry import propagate; print(json.dumps(sorted(propagate.get_global_textmap().fields)))"
    assert "baggage" in python(program, OTEL_PROPAGATORS="tracecontext,baggage")


async def test_what_fastapi_serves_is_traced_and_measured_beside_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", DEAD)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    telemetry = start()
    assert isinstance(telemetry.tracer_provider, TracerProvider)
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = FastAPI()
    app.get("/")(lambda: {"hello": "there"})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
        await client.get("/")  # builds the stack first, as a lifespan does
        telemetry.instrument_fastapi(app)
        assert (await client.get("/")).json() == {"hello": "there"}
    telemetry.instruments.request.record(0.1, ("POST", "http", "/mcp", 200, "1.1", None), INVALID_SPAN_CONTEXT)
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /"]
    families = {family.name: family for family in text_string_to_metric_families(telemetry.render_metrics()[1].decode())}
    routes = {s.labels["http_route"] for s in families["http_server_request_duration_seconds"].samples if s.name.endswith("_count")}
    assert routes == {"/", "/mcp"}
    assert "http_server_response_body_size_bytes" not in families
    await telemetry.shutdown(1)


async def test_shutdown_returns_in_time_twice_and_with_a_failing_exporter() -> None:
    telemetry = start()
    with anyio.fail_after(5):
        await telemetry.shutdown(1)

    def fail() -> None:
        raise RuntimeError("exporter")

    telemetry._shutdowns.append(fail)
    with anyio.fail_after(5):
        await telemetry.shutdown(3)
        await telemetry.shutdown(3)


async def test_whoever_shuts_down_second_waits_for_the_flush_of_the_first() -> None:
    telemetry, begun, release = start(), threading.Event(), threading.Event()

    def send() -> None:
        begun.set()
        release.wait(30)

    telemetry._shutdowns.append(send)
    first = asyncio.create_task(telemetry.shutdown(30))
    await asyncio.to_thread(begun.wait, 30)
    with logged() as lines:
        await asyncio.to_thread(lambda: asyncio.run(telemetry.shutdown(0)))  # as the exit deadline does, on a loop of its own
    assert [line["event"] for line in lines] == ["telemetry.flush_late"]
    release.set()
    with anyio.fail_after(30), logged() as lines:
        await first
        await telemetry.shutdown(0.001)
    assert lines == []
