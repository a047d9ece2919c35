"""Which traces are recorded, and what a caller can do about it."""

from __future__ import annotations

import random

import pytest
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from moorage.telemetry.bootstrap.sampling import BoundarySampler
from moorage.telemetry.context import NOTHING, context_of
from moorage.telemetry.environment import Sampling


def recorded(
    sampler: BoundarySampler, trace_id: int, *, remote: bool | None = None, flag: int = 1, state: TraceState | None = None
) -> bool:
    context = NOTHING if remote is None else context_of(SpanContext(trace_id, 1, remote, TraceFlags(flag), state))
    result = sampler.should_sample(context, trace_id, "POST /mcp")
    assert result.trace_state == state
    return result.decision is Decision.RECORD_AND_SAMPLE


def test_a_caller_cannot_force_recording_by_its_flag() -> None:
    sampler = BoundarySampler(Sampling(0.1, True))
    ids = [random.getrandbits(128) | 1 for _ in range(5000)]
    assert 300 < sum(recorded(sampler, trace_id, remote=True) for trace_id in ids) < 700


def test_a_caller_cannot_force_recording_by_its_trace_id() -> None:
    ids = [(number << 64) | 1 for number in range(1, 3001)]  # the standard ratio records every one of these
    assert sum(recorded(BoundarySampler(Sampling(0.1, True)), trace_id, remote=True) for trace_id in ids) < 500
    one = [recorded(BoundarySampler(Sampling(0.5, True)), ids[0], remote=True) for _ in range(60)]
    assert set(one) == {True, False}, "another process must draw another way"


def test_every_span_of_a_callers_trace_gets_the_same_answer() -> None:
    sampler = BoundarySampler(Sampling(0.5, True))
    for trace_id in range(1, 200):
        assert len({recorded(sampler, trace_id, remote=True) for _ in range(3)}) == 1


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_new_traces_and_callers_traces_follow_the_ratio(ratio: float) -> None:
    sampler = BoundarySampler(Sampling(ratio, True))
    assert recorded(sampler, (1 << 128) - 1) is bool(ratio)
    assert recorded(sampler, (1 << 128) - 1, remote=True) is bool(ratio)


@pytest.mark.parametrize("parent_based", [True, False])
def test_a_caller_that_does_not_record_is_followed_only_by_parent_based_samplers(parent_based: bool) -> None:
    assert recorded(BoundarySampler(Sampling(1.0, parent_based)), 5, remote=True, flag=0) is not parent_based


@pytest.mark.parametrize("flag", [0, 1])
def test_inside_the_process_the_parents_decision_holds(flag: int) -> None:
    for ratio in (0.0, 1.0):
        assert recorded(BoundarySampler(Sampling(ratio, True)), 5, remote=False, flag=flag) is bool(flag)


def test_trace_state_travels_along() -> None:
    assert recorded(BoundarySampler(Sampling(1.0, True)), 5, remote=True, state=TraceState([("vendor", "1")]))
    assert "0.25" in BoundarySampler(Sampling(0.25, True)).get_description()
