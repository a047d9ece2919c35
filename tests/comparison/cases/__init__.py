"""The exchanges of the modern era, one module a theme; each line is one exchange with a sentence for a name."""

from __future__ import annotations

from . import arguments, calls, envelope, headers, http, json_edges, methods, middleware, notifications, streams

CASES = (
    *calls.CASES,
    *arguments.CASES,
    *envelope.CASES,
    *headers.CASES,
    *http.CASES,
    *json_edges.CASES,
    *methods.CASES,
    *middleware.CASES,
    *notifications.CASES,
    *streams.CASES,
)
