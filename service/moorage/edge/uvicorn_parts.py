"""What the HTTP protocol and the worker rely on of uvicorn's inside; whoever starts a server looks for it first."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server

from moorage.lifecycle.parts import Parts

UVICORN_PARTS: Final[Parts] = {
    HttpToolsProtocol: (
        "connection_made",
        "connection_lost",
        "data_received",
        "on_header",
        "on_headers_complete",
        "on_body",
        "timeout_keep_alive_handler",
        "_unset_keepalive_if_required",
        "cycle",
        "expect_100_continue",
        "headers",
        "loop",
        "parser",
        "pipeline",
        "scope",
        "server_state",
        "timeout_keep_alive",
        "timeout_keep_alive_task",
        "transport",
        "url",
    ),
    RequestResponseCycle: (
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "on_response",
        "response_complete",
        "response_started",
        "transport",
    ),
    Server: ("config", "main_loop", "should_exit", "startup"),
}
