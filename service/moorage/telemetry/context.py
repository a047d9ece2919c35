"""Trace context as it arrives from outside: W3C `traceparent` and `tracestate`.

Owns reading it, from an HTTP header or from `params._meta`. Promises that what is malformed, too long or of the wrong type is
the same as absent, and that nothing else (baggage above all) crosses the boundary. Whether such a parent is sampled is the
sampler's business.
"""

from __future__ import annotations

import re
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_MAX_TRACEPARENT: Final = 512
_MAX_TRACESTATE: Final = 512
_VERSION_00: Final = "00"

NOTHING: Final = Context()
"""The context that a request starts in: no span, no baggage."""


def remote_parent(traceparent: object, tracestate: object = None) -> SpanContext | None:
    """Return the caller's span, or None when there is no usable one.

    Args:
        traceparent: Header value (`bytes`) or `_meta` value (`str`); any other type counts as absent.
        tracestate: The same; ignored when it is malformed.

    Source: https://www.w3.org/TR/trace-context-2/
    """
    text = _text(traceparent, _MAX_TRACEPARENT)
    match = _TRACEPARENT.fullmatch(text) if text else None
    if match is None or (match[1] == _VERSION_00 and match[5] is not None):
        return None
    state = _text(tracestate, _MAX_TRACESTATE) if tracestate is not None else None
    return SpanContext(
        int(match[2], 16), int(match[3], 16), True, TraceFlags(int(match[4], 16)), TraceState.from_header([state]) if state else None
    )


def context_of(parent: SpanContext) -> Context:
    """Return a context in which this span, and nothing else, is current."""
    return set_span_in_context(NonRecordingSpan(parent), NOTHING)


def _text(value: object, limit: int) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.strip(" \t") if isinstance(value, str) and len(value) <= limit else None
