"""The log as another process reads it: everything here is the output of a subprocess that configured it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from moorage.telemetry.redaction import short

SESSION = "5e55105e55105e55105e55105e55105e"


def run(program: str, *, level: str = "info", fmt: str = "json") -> str:
    """Run a program after `configure`, and return its standard error."""
    prelude = f"import logging, sys, warnings\nfrom moorage.telemetry import logs\nlogs.configure({level!r}, {fmt!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    return done.stderr


def events(program: str, **how: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(program, **how).splitlines()]


def test_an_event_is_one_json_line_with_time_level_event_and_logger_first() -> None:
    (line,) = run("logs.get_logger('moorage.test').info('session.opened', session='abc', epoch=7)").splitlines()
    event = json.loads(line)
    assert list(event) == ["ts", "level", "event", "logger", "session", "epoch"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", event["ts"])
    assert (event["level"], event["event"], event["logger"]) == ("info", "session.opened", "moorage.test")


def test_only_events_of_the_level_and_above_are_written() -> None:
    program = """
    log = logs.get_logger("moorage.test")
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)("ours")
        getattr(logging.getLogger("theirs"), level)("theirs")
    """
    assert [event["level"] for event in events(program, level="warning")] == ["warning", "warning", "error", "error"]
    assert len(events(program, level="debug")) == 8


def test_foreign_loggers_go_through_the_same_pipeline() -> None:
    program = """
    for name in ("uvicorn", "uvicorn.error", "gunicorn.error", "mcp.server.lowlevel", "a.library"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.StreamHandler(sys.stdout)) if name.startswith("uvicorn") else None
    logs.configure("info", "json")
    for name in ("uvicorn", "uvicorn.error", "gunicorn.error", "mcp.server.lowlevel", "a.library"):
        logging.getLogger(name).info("started %s", name)
    logging.getLogger("uvicorn.access").info("GET /mcp")
    warnings.warn("old")
    """
    told = events(program)
    assert [event["logger"] for event in told] == [
        "uvicorn",
        "uvicorn.error",
        "gunicorn.error",
        "mcp.server.lowlevel",
        "a.library",
        "py.warnings",
    ]
    assert told[0]["event"] == "started uvicorn"
    assert all(set(event) == {"ts", "level", "event", "logger"} for event in told)


def test_configuring_twice_writes_an_event_once_and_to_the_last_stream() -> None:
    program = """
    import io
    early = logs.get_logger("moorage.test")
    early.info("first")
    first = io.StringIO()
    logs.configure("info", "json", first)
    logs.configure("info", "json", first)
    early.info("ours")
    logging.getLogger("library").info("theirs")
    lines = first.getvalue().splitlines()
    assert len(lines) == 2, lines
    """
    assert [event["event"] for event in events(program)] == ["first"]


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_a_value_cannot_forge_a_line(fmt: str) -> None:
    program = """
    evil = 'x\\r\\n{"level":"error","event":"forged"}\\n\\x1b[31m\\u2028\\x85'
    class Evil:
        def __repr__(self): return evil
    log = logs.get_logger("moorage.test")
    log.info("event", value=evil, other=Evil(), nested=[evil], **{evil: 1})
    log.info(evil)
    logging.getLogger("library").warning("said %s", evil)
    try:
        raise ValueError(evil)
    except ValueError:
        log.exception("failed")
    """
    out = run(program, fmt=fmt)
    assert "\x1b" not in out
    assert "\u2028" not in out or fmt == "json"
    if fmt == "json":
        assert [json.loads(line)["level"] for line in out.split("\n") if line] == ["info", "info", "warning", "error"]
    else:
        beginning = [line for line in out.splitlines() if not line.startswith("    ")]
        assert [re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line) is not None for line in beginning] == [True] * 4


def test_an_exception_is_a_fact_of_its_event() -> None:
    program = """
    try:
        {}["key"]
    except KeyError as error:
        logs.get_logger("moorage.test").exception("ours")
        logs.get_logger("moorage.test").error("given", exc_info=error)
        logging.getLogger("library").exception("theirs")
    logs.get_logger("moorage.test").info("none", exc_info=None)
    logs.get_logger("moorage.test").exception("outside")
    """
    told = events(program)
    assert all(event["exception"].endswith("KeyError") and "Traceback" in event["exception"] for event in told[:3])
    assert [("exception" in event, "exc_info" in event) for event in told[3:]] == [(False, False)] * 2


def test_what_json_cannot_say_is_still_written() -> None:
    program = """
    log = logs.get_logger("moorage.test")
    log.info("odd", surrogate="\\ud800", big=2**70, thing=object, nan=float("nan"), **{"level": "error", "ts": 1})
    logs.get_logger("moorage.test").info("set", names={"a"})
    """
    odd, names = events(program)
    assert (odd["level"], odd["big"], odd["surrogate"]) == ("info", 2**70, "\ud800")
    assert odd["ts"].startswith("20")
    assert names["names"] == "{'a'}"


def test_keys_and_bearer_tokens_are_not_written() -> None:
    program = """
    logging.getLogger("library").info("sent Authorization: Bearer abc.def-ghi, got moor_0123456789abcdefghijklmn")
    try:
        raise ValueError("bad header 'bearer abc.def-ghi'")
    except ValueError:
        logs.get_logger("moorage.test").exception("failed")
    """
    out = run(program)
    assert out.count("[redacted]") >= 2
    assert "abc.def" not in out
    assert "moor_0" not in out


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"Created new transport with session ID: {SESSION}", f"Created new transport with session ID: {short(SESSION)}"),
        (f"Terminating session: {SESSION}", f"Terminating session: {short(SESSION)}"),
        (f"Session {SESSION} idle timeout", f"Session {short(SESSION)} idle timeout"),
        (f"Session {SESSION} crashed", f"Session {short(SESSION)} crashed"),
        ("Session made-up crashed", f"Session {short('made-up')} crashed"),
        (
            "Rejected request with unknown or expired session ID: made-up",
            f"Rejected request with unknown or expired session ID: {short('made-up')}",
        ),
        ("StreamableHTTP session manager started", "StreamableHTTP session manager started"),
        ("Stateless session crashed", "Stateless session crashed"),
    ],
)
def test_the_sdks_session_ids_are_written_as_hashes(message: str, expected: str) -> None:
    (event,) = events(f"logging.getLogger('mcp.server.streamable_http_manager').info({message!r})")
    assert event["event"] == expected


def test_the_sdks_records_show_neither_results_nor_queries_nor_whole_messages() -> None:
    program = """
    log = logging.getLogger("mcp.server.mcpserver.server")
    log.info("Tool %r failed: %r", "add", "secret")
    log.info("Resource %r failed: %r", "db://ada:secret@host/t?q=secret", "secret")
    log.info("Resource %r raised an unexpected exception", "db://host/t?q=secret")
    log.info("Tool %r rejected arguments: %r", "add", ["a"])
    log.debug("Received JSON: secret")
    """
    told = [event["event"] for event in events(program, level="debug")]
    assert told == [
        "Tool 'add' failed",
        "Resource 'db://host/t' failed",
        "Resource 'db://host/t' raised an unexpected exception",
        "Tool 'add' rejected arguments",
    ]


def test_the_sdk_itself_writes_no_whole_session_id() -> None:
    program = """
    import anyio, httpx2
    from mcp.server.mcpserver import MCPServer
    server = MCPServer("test")
    app = server.streamable_http_app()
    async def main():
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        headers = {"accept": "application/json, text/event-stream", "content-type": "application/json", "host": "127.0.0.1:8000"}
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000")
        async with app.router.lifespan_context(app), client:
            answer = await client.post("/mcp", json=body, headers=headers)
            session = answer.headers["mcp-session-id"]
            await client.delete("/mcp", headers={**headers, "mcp-session-id": session})
            print(session)
    anyio.run(main)
    """
    prelude = "import logging\nfrom moorage.telemetry import logs\nlogs.configure('debug', 'json')\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    session = done.stdout.strip()
    assert len(session) == 32
    assert short(session) in done.stderr
    assert session not in done.stderr


def test_a_collector_that_is_down_is_mentioned_once_and_not_for_every_batch() -> None:
    program = """
    log = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    for attempt in range(50):
        log.warning("Transient error %s encountered while exporting %s batch, retrying in %.2fs.", "refused", "span", attempt)
        log.error("Failed to export spans batch due to timeout, max retries or shutdown.")
    """
    assert [event["level"] for event in events(program)] == ["warning", "error"]


def test_events_inside_a_span_carry_its_trace() -> None:
    program = """
    from opentelemetry.context import attach
    from moorage.telemetry.context import context_of, remote_parent
    attach(context_of(remote_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")))
    logs.get_logger("moorage.test").info("ours")
    logs.get_logger("moorage.test").info("said", trace_id="own")
    logging.getLogger("tool").info("theirs")
    """
    assert [event["trace_id"] for event in events(program)] == [
        "0af7651916cd43dd8448eb211c80319c",
        "own",
        "0af7651916cd43dd8448eb211c80319c",
    ]


def test_a_reader_that_went_away_does_not_fail_the_caller() -> None:
    program = """
    import os
    reader, writer = os.pipe()
    logs.configure("info", "json", os.fdopen(writer, "w"))
    os.close(reader)
    for _ in range(3):
        logs.get_logger("moorage.test").info("nobody", text="x" * 10000)
        logging.getLogger("library").info("nobody")
    logs.configure("info", "json")
    logs.get_logger("moorage.test").info("alive")
    os._exit(0)
    """
    assert [event["event"] for event in events(program)] == ["alive"]


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    program = "from moorage.telemetry import logs; logs.configure('info', 'auto'); logs.get_logger('moorage.test').info('ready', port=8000)"
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True)
    finally:
        os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert done.stdout == b""
    assert "\x1b[" in shown, "a terminal gets colours"
    assert "ready" in shown
    assert not shown.startswith("{")
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(piped.stderr)["port"] == 8000


STOPPED_READER = """
import os
reader, writer = os.pipe()
logs.configure("info", "json", os.fdopen(writer, "w"))
log = logs.get_logger("moorage.test")
told = b""
def read_until(end):
    global told
    while end not in told:
        told += os.read(reader, 65536)
"""


def test_a_reader_that_stops_holds_up_nobody_and_gets_all_lines_in_order_when_it_reads_again() -> None:
    program = (
        STOPPED_READER
        + """
for number in range(300):
    log.info("line", number=number, text="x" * (number * 37 % 9000))
read_until(b'"number":299')
import json
assert [json.loads(line)["number"] for line in told.splitlines() if line] == list(range(300))
assert os.get_blocking(writer), "the descriptor is shared with other processes"
"""
    )
    assert run(program) == ""


def test_lines_past_the_bound_are_dropped_counted_and_told_in_one_line() -> None:
    program = (
        STOPPED_READER
        + """
import json
from moorage.telemetry.log_pipe import DROPPED, KEPT_BYTES
for number in range(600):
    log.info("line", number=number, text="x" * 10000)
dropped = DROPPED.lines
assert 600 - dropped <= (KEPT_BYTES + 65536 + 10000) / 10000
assert dropped > 100
read_until(b"logs.dropped")
lines = [json.loads(line) for line in told.splitlines()]
assert [line["number"] for line in lines[:-1]] == list(range(600 - dropped))
assert (lines[-1]["event"], lines[-1]["lines"]) == ("logs.dropped", dropped)
"""
    )
    assert run(program) == ""


def test_without_a_reader_that_reads_the_process_still_ends() -> None:
    program = STOPPED_READER + "for number in range(100):\n    log.info('line', text='x' * 10000)\n"
    assert run(program) == ""


@pytest.mark.parametrize("kind", ["socket", "a pipe that cannot be opened anew"])
def test_other_ways_to_a_stopped_reader_hold_up_nobody_either(kind: str) -> None:
    program = f"""
    import os, socket
    from moorage.telemetry import log_pipe
    if {kind!r} == "socket":
        ours, theirs = socket.socketpair()
        reader, writer = ours.detach(), theirs.detach()
    else:
        reader, writer = os.pipe()
        def refuse(*_arguments): raise PermissionError
        log_pipe.os.open = refuse
    logs.configure("info", "json", os.fdopen(writer, "w"))
    for number in range(100):
        logs.get_logger("moorage.test").info("line", number=number, text="x" * 9000)
    told = b""
    while b'"number":99' not in told:
        told += os.read(reader, 65536)
    assert told.count(b'"event"') == 100
    """
    assert run(program) == ""


def test_a_record_of_another_library_is_short_whatever_its_arguments_and_its_message_are() -> None:
    program = """
    long = "x" * 1_000_000
    library = logging.getLogger("library")
    library.warning("said %s and %r", long, long)
    library.warning("said %(it)s", {"it": long})
    library.warning("said %s", [long])
    library.warning(long)
    """
    two, named, listed, whole = (event["event"] for event in events(program))
    assert two == f"said {'x' * 256}… and '{'x' * 256}…'"
    assert named == f"said {'x' * 256}…"
    assert len(listed) == len(whole) == 8193


def test_a_traceback_is_short_however_deep_and_wide_what_failed_was() -> None:
    program = """
    def even(depth): odd(depth - 1)
    def odd(depth): even(depth - 1) if depth > 1 else broken()
    def broken(): raise LookupError
    def caught():
        try: even(600)
        except LookupError as error: return error
    log = logs.get_logger("moorage.test")
    log.error("deep", exc_info=caught())
    log.error("wide", exc_info=ExceptionGroup("many", [ExceptionGroup("some", [caught() for _ in range(9)]) for _ in range(9)]))
    """
    deep, wide = (event["exception"] for event in events(program))
    assert deep.endswith("LookupError")
    assert "in broken" in deep
    assert len(deep) < 10_000
    assert wide.startswith("ExceptionGroup")
    assert len(wide) < 33_000
