"""Telemetry over the wire: a real OTLP receiver, a collector that is not there, and one that swallows everything."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import anyio
import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceServicer, add_TraceServiceServicer_to_server
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

pytestmark = pytest.mark.anyio

SERVED = """
import asyncio
from moorage.settings import TelemetrySettings
from moorage.telemetry import bootstrap, logs
from moorage.telemetry.observer import Observer
from opentelemetry import trace

SCOPE = {"method": "POST", "path": "/mcp", "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 5)}

async def main():
    logs.configure("info", "json")
    telemetry = bootstrap.start(TelemetrySettings(), service_name="quickstart", version="1.2.3")
    observer = Observer(tracer=telemetry.tracer, instruments=telemetry.instruments, log=logs.get_logger("moorage.mcp"))
    for number in range(CALLS):
        exchange = observer.exchange(SCOPE, {b"host": b"mcp.example.com"})
        meta = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        operation = exchange.message(
            method="tools/call", target="add", uri=None, request_id=number, protocol_version="2026-07-28", session_id=None, meta=meta
        )
        with trace.get_tracer("tool").start_as_current_span("query"):
            pass
        operation.finish("ok")
        exchange.finish(200)
    beats = 0
    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1
    heart = asyncio.ensure_future(beat())
    async with asyncio.timeout(5):
        await telemetry.shutdown(FLUSH)
    heart.cancel()
    print(beats)

asyncio.run(main())
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[socket.socket]:
    """A listener whose connections are never answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def is_named(name: str, told: Span | Metric) -> bool:
    return told.name == name


async def serve(environ: dict[str, str], *, calls: int = 1, flush: float = 3) -> int:
    """Run a process that observes calls, flushes within five seconds and exits; return how often its loop turned meanwhile."""
    program = textwrap.dedent(SERVED).replace("CALLS", str(calls)).replace("FLUSH", str(flush))
    done = await anyio.run_process([sys.executable, "-c", program], env=dict(os.environ) | environ, check=False, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    return int(done.stdout)


async def test_spans_and_measurements_arrive_at_a_collector() -> None:
    port = free_port()
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as collector:
        spans = [collector.await_trace(partial(is_named, name)) for name in ("tools/call add", "POST /mcp", "query")]
        metrics = [
            collector.await_metric(partial(is_named, name)) for name in ("mcp.server.operation.duration", "http.server.request.duration")
        ]
        with anyio.fail_after(60):
            exits = serve({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
            told = asyncio.gather(asyncio.gather(*spans), asyncio.gather(*metrics), exits)  # it keeps nothing: wait first
            (message, http, query), (duration, request), _ = await told
    assert message.kind == http.kind == Span.SPAN_KIND_SERVER
    assert message.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert message.parent_span_id.hex() == "b7ad6b7169203331"
    assert [link.span_id for link in message.links] == [http.span_id]
    assert query.parent_span_id == message.span_id
    (point,) = duration.histogram.data_points
    assert point.count == 1
    assert [exemplar.span_id for exemplar in point.exemplars] == [message.span_id]
    assert request.histogram.data_points[0].count == 1
    assert request.unit == "s"


async def test_grpc_is_spoken_when_it_is_asked_for() -> None:
    names: list[str] = []

    class Collector(TraceServiceServicer):
        def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: N802
            names.extend(span.name for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with anyio.fail_after(60):
            await serve(
                {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                    "OTEL_METRICS_EXPORTER": "none",
                }
            )
    finally:
        server.stop(None).wait(5)
    assert sorted(names) == ["POST /mcp", "query", "tools/call add"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("collector", ["refuses", "swallows"])
async def test_a_dead_collector_neither_delays_the_exit_nor_blocks_the_loop(collector: str, protocol: str) -> None:
    with black_hole() as listener:
        endpoint = url_of(listener) if collector == "swallows" else f"http://127.0.0.1:{free_port()}"
        with anyio.fail_after(20):  # the exporter's own patience is ten seconds a batch, and thirty for a shutdown
            environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
            beats = await serve(environ, calls=3000, flush=1)
    assert beats > 10


async def test_nothing_is_sent_when_both_signals_are_off() -> None:
    with black_hole() as listener, anyio.fail_after(30):
        off = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
        await serve({"OTEL_EXPORTER_OTLP_ENDPOINT": url_of(listener)} | off)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
