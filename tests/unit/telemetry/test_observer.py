"""One exchange, as spans, durations and log events show it."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import get_current
from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode

from moorage.telemetry.bootstrap.resource import describe
from moorage.telemetry.observer import Observer
from moorage.telemetry.redaction import short

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
SCOPE = {"method": "POST", "path": "/mcp", "scheme": "https", "http_version": "1.1", "client": ("10.0.0.7", 51234)}
HEADERS = {b"host": b"mcp.example.com:8443", b"user-agent": b"agent/1"}


def begin(exchange: Any, **changed: Any) -> Any:
    facts = {
        "method": "tools/call",
        "target": "add",
        "uri": None,
        "request_id": 7,
        "protocol_version": "2026-07-28",
        "session_id": None,
        "meta": None,
    }
    return exchange.message(**(facts | changed))


def call(
    observer: Observer, *, headers: dict[bytes, bytes] = HEADERS, outcome: str = "ok", error_code: int | None = None, **changed: Any
) -> None:
    exchange = observer.exchange(SCOPE, headers)
    exchange.principal = "ada"
    begin(exchange, **changed).finish(outcome, error_code=error_code)
    exchange.finish(200)


def test_a_call_is_a_message_span_inside_an_http_span(recorded: Any) -> None:
    call(recorded.observer)
    message, http = recorded.spans
    assert (http.name, http.kind, http.parent) == ("POST /mcp", SpanKind.SERVER, None)
    assert dict(http.attributes) == {
        "http.request.method": "POST",
        "http.route": "/mcp",
        "url.path": "/mcp",
        "url.scheme": "https",
        "network.protocol.version": "1.1",
        "client.address": "10.0.0.7",
        "server.address": "mcp.example.com",
        "server.port": 8443,
        "user_agent.original": "agent/1",
        "http.response.status_code": 200,
    }
    assert (message.name, message.kind, message.parent) == ("tools/call add", SpanKind.SERVER, http.context)
    assert dict(message.attributes) == {
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2026-07-28",
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "jsonrpc.request.id": "7",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "add",
        "client.address": "10.0.0.7",
        "moorage.outcome": "ok",
    }
    assert not message.links


def test_the_callers_span_is_the_parent_and_the_http_span_a_link(recorded: Any) -> None:
    call(recorded.observer, meta={"traceparent": TRACEPARENT, "tracestate": "vendor=1", "baggage": "tenant=other"})
    message, http = recorded.spans
    assert f"{message.context.trace_id:032x}" == TRACE_ID
    assert f"{message.parent.span_id:016x}" == "b7ad6b7169203331"
    assert message.context.trace_state["vendor"] == "1"
    assert [link.context for link in message.links] == [http.context]
    assert http.context.trace_id != message.context.trace_id


def test_the_traceparent_header_is_the_parent_of_the_http_span(recorded: Any) -> None:
    call(recorded.observer, headers={**HEADERS, b"traceparent": TRACEPARENT.encode()})
    message, http = recorded.spans
    assert f"{http.context.trace_id:032x}" == f"{message.context.trace_id:032x}" == TRACE_ID
    assert http.parent.is_remote


@pytest.mark.parametrize(
    "traceparent", ["", "00-xyz", 7, None, ["00"], TRACEPARENT.upper(), "00-" + "0" * 32 + "-b7ad6b7169203331-01", TRACEPARENT * 20]
)
def test_a_malformed_parent_is_the_same_as_none(recorded: Any, traceparent: object) -> None:
    call(recorded.observer, meta={"traceparent": traceparent})
    message, http = recorded.spans
    assert message.parent == http.context


def test_a_tools_own_span_is_inside_the_message_and_sees_no_baggage(recorded: Any) -> None:
    before = get_current()
    exchange = recorded.observer.exchange(SCOPE, {**HEADERS, b"baggage": b"tenant=other"})
    operation = begin(exchange, meta={"traceparent": TRACEPARENT, "baggage": "tenant=other"})
    assert baggage.get_all() == {}
    with recorded.provider.get_tracer("tool").start_as_current_span("query"):
        trace.get_current_span().set_attribute("rows", 3)
    operation.finish("ok")
    exchange.finish(200)
    query, message, _ = recorded.spans
    assert query.parent == message.context
    assert get_current() == before


@pytest.mark.anyio
async def test_finishing_in_another_task_leaves_both_contexts_alone(recorded: Any, caplog: pytest.LogCaptureFixture) -> None:
    exchange = recorded.observer.exchange(SCOPE, HEADERS)
    operation = begin(exchange)
    current = get_current()

    async def finish() -> None:
        operation.finish("cancelled")
        operation.finish("ok")

    await asyncio.wait_for(asyncio.create_task(finish()), 5)
    assert get_current() is current
    assert [event["outcome"] for event in recorded.events] == ["cancelled"]
    assert len(recorded.spans) == 1
    assert not caplog.records


@pytest.mark.parametrize(
    ("outcome", "code", "error_type", "status", "description"),
    [
        ("tool_error", None, "tool_error", StatusCode.ERROR, None),
        ("error", -32602, "-32602", StatusCode.ERROR, "invalid params"),
        ("error", -32603, "-32603", StatusCode.ERROR, "internal error"),
        ("error", 4711, "4711", StatusCode.ERROR, None),
        ("error", None, "_OTHER", StatusCode.ERROR, None),
        ("cancelled", None, None, StatusCode.UNSET, None),
        ("input_required", None, None, StatusCode.UNSET, None),
    ],
)
def test_how_a_message_ended_is_on_its_span(
    recorded: Any, outcome: str, code: int | None, error_type: str | None, status: StatusCode, description: str | None
) -> None:
    call(recorded.observer, outcome=outcome, error_code=code)
    message = recorded.spans[0]
    assert message.attributes.get("error.type") == error_type
    assert message.attributes.get("rpc.response.status_code") == (None if code is None else str(code))
    assert (message.status.status_code, message.status.description) == (status, description)


def test_the_canonical_event_says_who_called_what_and_how_it_ended(recorded: Any) -> None:
    call(recorded.observer, session_id="0123456789abcdef", outcome="tool_error")
    (event,) = recorded.events
    assert event.pop("ms") >= 0
    assert event.pop("ts").endswith("Z")
    assert event == {
        "level": "info",
        "event": "mcp.request",
        "logger": "moorage.mcp",
        "method": "tools/call",
        "tool": "add",
        "outcome": "tool_error",
        "session": short("0123456789abcdef"),
        "principal": "ada",
        "protocol": "2026-07-28",
        "trace_id": f"{recorded.spans[0].context.trace_id:032x}",
    }


def test_an_internal_error_is_a_warning_and_other_errors_are_not(recorded: Any) -> None:
    call(recorded.observer, outcome="error", error_code=-32603)
    call(recorded.observer, outcome="error", error_code=-32602)
    assert [(event["level"], event["error_code"]) for event in recorded.events] == [("warning", -32603), ("info", -32602)]


def test_a_session_id_is_nowhere_written_whole(recorded: Any) -> None:
    session = "5e55105e55105e55105e55105e55105e"
    call(recorded.observer, session_id=session)
    assert recorded.spans[0].attributes["mcp.session.id"] == short(session)
    assert session not in recorded.stream.getvalue() + "".join(span.to_json() for span in recorded.spans)


def test_a_resource_is_named_without_what_may_be_secret_in_its_uri(recorded: Any) -> None:
    call(recorded.observer, method="resources/read", target=None, uri="db://ada:secret@host/table?token=secret#secret")
    assert recorded.spans[0].name == "resources/read"
    assert recorded.spans[0].attributes["mcp.resource.uri"] == "db://host/table"
    assert recorded.events[0]["uri"] == "db://host/table"
    assert "secret" not in recorded.stream.getvalue()


def test_what_a_caller_makes_up_is_cut_down_to_closed_sets(recorded: Any) -> None:
    exchange = recorded.observer.exchange({**SCOPE, "method": "BREW", "http_version": "9", "scheme": "gopher"}, HEADERS)
    begin(exchange, method="_OTHER", target=None, protocol_version="tomorrow", request_id="x" * 1000).finish("error", error_code=123456)
    exchange.finish(200)
    message, http = recorded.spans
    assert http.name == "HTTP /mcp"
    assert len(message.attributes["jsonrpc.request.id"]) == 128
    (operation,) = recorded.points("mcp.server.operation.duration")
    (request,) = recorded.points("http.server.request.duration")
    assert operation.attributes == {
        "mcp.method.name": "_OTHER",
        "mcp.protocol.version": "_OTHER",
        "moorage.outcome": "error",
        "error.type": "_OTHER",
        "rpc.response.status_code": "_OTHER",
    }
    assert (request.attributes["http.request.method"], request.attributes["url.scheme"]) == ("_OTHER", "http")
    assert request.attributes["network.protocol.version"] == "_OTHER"


def test_both_durations_are_measured_in_seconds_with_the_conventions_buckets_and_an_exemplar(recorded: Any) -> None:
    call(recorded.observer)
    (operation,) = recorded.points("mcp.server.operation.duration")
    assert operation.explicit_bounds == (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
    assert (operation.count, sum(operation.bucket_counts)) == (1, 1)
    assert 0 < operation.sum < 10
    assert [exemplar.trace_id for exemplar in operation.exemplars] == [recorded.spans[0].context.trace_id]
    (request,) = recorded.points("http.server.request.duration")
    assert request.explicit_bounds == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert request.attributes == {
        "http.request.method": "POST",
        "url.scheme": "https",
        "http.route": "/mcp",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }


def test_a_refusal_is_counted_and_logged_with_its_reason(recorded: Any) -> None:
    recorded.observer.exchange(SCOPE, HEADERS).finish(401)
    known = recorded.observer.exchange(SCOPE, HEADERS)
    known.reason = "draining"
    known.finish(503)
    made_up = recorded.observer.exchange(SCOPE, HEADERS)
    made_up.reason = "because"
    made_up.finish(418)
    assert [(event["event"], event["status"], event["reason"], event["level"]) for event in recorded.events] == [
        ("http.refused", 401, "unauthenticated", "info"),
        ("http.refused", 503, "draining", "info"),
        ("http.refused", 418, "because", "info"),
    ]
    counted = {
        (point.attributes["http.response.status_code"], point.attributes["moorage.refusal.reason"]): point.value
        for point in recorded.points("moorage.refusals")
    }
    assert counted == {(401, "unauthenticated"): 1, (503, "draining"): 1, (418, "_OTHER"): 1}


def test_a_server_error_marks_the_http_span_and_warns(recorded: Any) -> None:
    recorded.observer.exchange(SCOPE, HEADERS).finish(500)
    (http,) = recorded.spans
    assert (http.status.status_code, http.status.description, http.attributes["error.type"]) == (StatusCode.ERROR, None, "500")
    assert recorded.events[0]["level"] == "warning"


def test_an_exchange_without_a_message_that_went_well_is_told_at_debug(recorded: Any) -> None:
    recorded.observer.exchange({**SCOPE, "method": "OPTIONS"}, HEADERS).finish(204)
    assert [(event["event"], event["level"]) for event in recorded.events] == [("http.exchange", "debug")]


def test_a_stream_is_active_until_it_ends_and_stays_out_of_the_request_durations(recorded: Any) -> None:
    exchange = recorded.observer.exchange({**SCOPE, "method": "GET"}, HEADERS)
    exchange.streaming("get")
    active = {point.attributes["moorage.stream.kind"]: point.value for point in recorded.points("moorage.streams.active")}
    requests = sum(point.value for point in recorded.points("http.server.active_requests"))
    exchange.finish(200, streamed=True)
    recorded.observer.exchange(SCOPE, HEADERS).finish(200, streamed=True)
    assert (active, requests) == ({"listen": 0, "get": 1}, 1)
    assert {point.attributes["moorage.stream.kind"]: point.value for point in recorded.points("moorage.streams.active")} == {
        "listen": 0,
        "get": 0,
    }
    assert sum(point.value for point in recorded.points("http.server.active_requests")) == 0
    assert {point.attributes["moorage.stream.kind"]: point.count for point in recorded.points("moorage.stream.duration")} == {
        "listen": 1,
        "get": 1,
    }
    assert recorded.points("http.server.request.duration") == []


def test_an_exchange_ends_once(recorded: Any) -> None:
    exchange = recorded.observer.exchange(SCOPE, HEADERS)
    exchange.finish(413)
    exchange.finish(500)
    assert [event["status"] for event in recorded.events] == [413]
    assert sum(point.value for point in recorded.points("http.server.active_requests")) == 0
    assert len(recorded.spans) == 1


def test_sessions_are_counted_while_open_and_measured_when_closed(recorded: Any) -> None:
    instruments = recorded.observer.instruments
    instruments.session_opened("2025-11-25")
    assert [point.value for point in recorded.points("moorage.sessions.active")] == [1]
    instruments.session_closed("2025-11-25", 42.0)
    assert [point.value for point in recorded.points("moorage.sessions.active")] == [0]
    (session,) = recorded.points("mcp.server.session.duration")
    assert (session.sum, session.attributes) == (42.0, {"mcp.protocol.version": "2025-11-25"})


def test_an_unsampled_call_is_still_measured_and_logged_under_its_trace(unsampled: Any) -> None:
    exchange = unsampled.observer.exchange(SCOPE, HEADERS)
    operation = begin(exchange)
    child = unsampled.provider.get_tracer("tool").start_span("query")
    operation.finish("ok")
    exchange.finish(200)
    assert not child.is_recording()
    assert len(unsampled.spans) == 0
    assert len(unsampled.points("mcp.server.operation.duration")) == 1
    assert len(unsampled.events[0]["trace_id"]) == 32


def test_without_tracing_the_callers_trace_is_passed_on_and_logged(recorded: Any) -> None:
    observer = Observer(tracer=NoOpTracer(), instruments=recorded.observer.instruments, log=recorded.observer.log)
    before = get_current()
    exchange = observer.exchange(SCOPE, HEADERS)
    operation = begin(exchange, meta={"traceparent": TRACEPARENT})
    assert f"{trace.get_current_span().get_span_context().trace_id:032x}" == TRACE_ID
    operation.finish("ok")
    exchange.finish(200)
    call(observer)
    assert [event.get("trace_id") for event in recorded.events] == [TRACE_ID, None]
    assert get_current() == before
    assert len(recorded.spans) == 0


def test_a_process_says_what_it_is_and_when_it_started(recorded: Any) -> None:
    (build,) = recorded.points("moorage.build_info")
    assert (build.value, build.attributes["version"]) == (1, "1")
    (start,) = recorded.points("moorage.process.start_time")
    assert 1.7e9 < start.value < 1e11


def test_the_resource_names_the_pod_and_the_process() -> None:
    pod = {"MOORAGE_POD_UID": "uid-1", "MOORAGE_POD_NAME": "moorage-0", "MOORAGE_POD_NAMESPACE": "tools", "MOORAGE_NODE_NAME": "n1"}
    attributes = describe(pod, setting=None, service_name="quickstart", version="1").attributes
    assert str(attributes["service.instance.id"]).startswith("uid-1-")
    assert attributes["service.name"] == "quickstart"
    assert {key: attributes[key] for key in attributes if key.startswith("k8s.")} == {
        "k8s.pod.uid": "uid-1",
        "k8s.pod.name": "moorage-0",
        "k8s.namespace.name": "tools",
        "k8s.node.name": "n1",
    }


def test_the_environment_names_the_service_before_its_server_and_the_settings_before_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=mine")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-environment")
    attributes = describe({}, setting=None, service_name="quickstart", version="1").attributes
    assert (attributes["service.name"], attributes["service.instance.id"]) == ("from-environment", "mine")
    assert attributes["deployment.environment.name"] == "test"
    assert describe({}, setting="from-settings", service_name="quickstart", version="1").attributes["service.name"] == "from-settings"


def test_a_call_that_runs_again_without_its_client_is_a_message_and_no_http_request(recorded: Any) -> None:
    exchange = recorded.observer.rerun(SCOPE, HEADERS)
    begin(exchange).finish("ok")
    exchange.finish(200)
    assert [span.name for span in recorded.spans] == ["tools/call add"]
    assert recorded.spans[0].parent is None
    assert [event["event"] for event in recorded.events] == ["mcp.request"]
    assert [point.count for point in recorded.points("mcp.server.operation.duration")] == [1]
    assert recorded.points("http.server.request.duration") == []
    assert [point.value for point in recorded.points("http.server.active_requests")] == [0]


def test_of_ten_thousand_agents_and_hosts_little_is_remembered(recorded: Any) -> None:
    def seen(count: int) -> dict[str, Any]:
        value = (b"%08d" % count).ljust(30 * 1024, b"x")
        recorded.observer.exchange(SCOPE, {b"user-agent": value, b"host": value}).finish(200)
        (span,) = recorded.spans
        recorded.exporter.clear()
        recorded.stream.seek(0)
        recorded.stream.truncate()
        return dict(span.attributes)

    tracemalloc.start()
    try:
        seen(0)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for count in range(1, 10_000):
            seen(count)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert seen(10_000)["user_agent.original"] == "00010000" + "x" * 248
    assert seen(10_000)["server.address"] == "00010000" + "x" * 248


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        (b"a:1", "a", 1),
        (b"a:65535", "a", 65535),
        (b"a:" + b"9" * 200, "a:" + "9" * 200, None),
        (b"[::1]:80", "[::1]", 80),
        (b":", ":", None),
    ],
)
def test_the_host_is_told_as_it_was_named_and_a_port_only_where_it_may_be_one(
    recorded: Any, host: bytes, address: str, port: int | None
) -> None:
    recorded.observer.exchange(SCOPE, {b"host": host}).finish(200)
    attributes = recorded.spans[0].attributes
    assert (attributes["server.address"], attributes.get("server.port")) == (address, port)
