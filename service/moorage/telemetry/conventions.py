"""Names and closed sets of the OpenTelemetry conventions that we follow: HTTP (stable) and MCP (GenAI).

Owns how a value that a caller chose is cut down to a set that we chose, so that no label and no span name is unbounded.

Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md
"""

from __future__ import annotations

from typing import Final

from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

OTHER: Final = "_OTHER"
ROUTE: Final = "/mcp"
CALL: Final = "tools/call"
GET_PROMPT: Final = "prompts/get"
EXECUTE_TOOL: Final = "execute_tool"

HTTP_METHODS: Final = frozenset({"GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH"})
HTTP_VERSIONS: Final = frozenset({"1.0", "1.1", "2", "3"})
PROTOCOL_VERSIONS: Final = frozenset(KNOWN_PROTOCOL_VERSIONS)

MCP_BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
HTTP_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STREAM_BUCKETS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 43200.0, 86400.0)

REFUSALS: Final = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden_origin",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "body_timeout",
    411: "length_required",
    413: "body_too_large",
    415: "unsupported_media_type",
    421: "misdirected_host",
    429: "rate_limited",
    431: "headers_too_large",
    499: "client_left",
    500: "internal_error",
    503: "overloaded",
}
"""Reason of a refusal by status; the edge may name a closer one of `REASONS`."""

REASONS: Final = frozenset(
    {*REFUSALS.values(), "draining", "unknown_session", "invalid_credential", OTHER}
    | {"store_unavailable", "store_full", "owner_unreachable", "session_moved", "relay_refused"}
    | {f"{what}_{why}" for what in ("bodies", "calls", "stream", "questions", "session", "threads") for why in ("limit", "share")}
)

INTERNAL_ERROR: Final = -32603
_ERRORS: Final = {
    -32700: "parse error",
    -32600: "invalid request",
    -32601: "method not found",
    -32602: "invalid params",
    INTERNAL_ERROR: "internal error",
}
_CODES: Final = range(-32899, -31999)  # JSON-RPC's reserved range and the cancellation codes next to it


def error_label(code: int | None) -> str:
    """Return a JSON-RPC error code as a label: handlers may invent codes, the protocol's own are a bounded set."""
    return str(code) if code is not None and code in _CODES else OTHER


def error_description(code: int | None) -> str | None:
    """Return what a span's status says of a code. Messages are never used: they may quote arguments."""
    return None if code is None else _ERRORS.get(code)
