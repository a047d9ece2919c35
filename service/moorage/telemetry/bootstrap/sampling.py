"""Which traces are recorded.

Owns the decision at the trust boundary: the standard parent-based samplers let any caller force recording by a flag, and the standard
ratio lets it by choosing a trace id. Here a caller's trace is drawn by our ratio and by a salt it does not know; its only say is that
it does not record. Inside the process the parent's decision holds, so traces stay whole.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from moorage.telemetry.environment import Sampling

_MASK: Final = (1 << 64) - 1
_ODD: Final = 0x9E3779B97F4A7C15
_DROP: Final = SamplingResult(Decision.DROP)
_RECORD: Final = SamplingResult(Decision.RECORD_AND_SAMPLE)


class BoundarySampler(Sampler):
    """Samples new traces and callers' traces by a ratio."""

    def __init__(self, sampling: Sampling) -> None:
        self._parent_based = sampling.parent_based
        self._ratio = sampling.ratio
        self._bound = round(sampling.ratio * (1 << 64))
        self._salt = random.SystemRandom().getrandbits(64)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,  # noqa: ARG002
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Decide; see the module for the rule."""
        parent = get_current_span(parent_context).get_span_context()
        if not parent.is_valid:
            recorded = trace_id & _MASK < self._bound
        elif not parent.is_remote:
            recorded = parent.trace_flags.sampled
        elif self._parent_based and not parent.trace_flags.sampled:
            recorded = False
        else:
            recorded = self._draw(trace_id)
        if not attributes and not parent.trace_state:
            return _RECORD if recorded else _DROP
        state = parent.trace_state or None
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, state) if recorded else SamplingResult(Decision.DROP, None, state)

    def get_description(self) -> str:
        """Name the sampler for whoever debugs it."""
        return f"BoundarySampler{{ratio={self._ratio},parentBased={self._parent_based}}}"

    def _draw(self, trace_id: int) -> bool:
        """Draw once for a trace: every span of it in this process gets the same answer."""
        mixed = ((trace_id ^ (trace_id >> 64) ^ self._salt) * _ODD) & _MASK
        mixed = ((mixed ^ (mixed >> 32)) * _ODD) & _MASK
        return mixed < self._bound
