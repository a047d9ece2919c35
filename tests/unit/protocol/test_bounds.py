"""Bodies are judged by a count of delimiters; what a decoder then meets is never more than the bounds say."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.protocol.bounds import BodyBounds

DEPTH, VALUES = 4, 12
TEXT = st.text(st.sampled_from('"\\[]{},:\n\u00e9\u2028 a'), max_size=6) | st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=12,
)


def values_of(value: Any) -> int:
    """Members of all arrays and objects; an empty one counts as one, too."""
    if isinstance(value, dict | list):
        members = list(value.values()) if isinstance(value, dict) else value
        return max(1, len(members)) + sum(values_of(member) for member in members)
    return 0


def depth_of(value: Any) -> int:
    if isinstance(value, dict | list):
        members = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(map(depth_of, members), default=0)
    return 0


def written(value: Any, *, ascii_only: bool, indent: int | None, encoding: str = "utf-8") -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(encoding, "surrogatepass")


@given(JSON, st.booleans(), st.sampled_from([None, 0, 2]))
def test_exactly_what_passes_a_bound_is_refused(value: Any, ascii_only: bool, indent: int | None) -> None:
    body = written(value, ascii_only=ascii_only, indent=indent)
    refusal = BodyBounds(DEPTH, VALUES).refusal(body)
    expected = "max_json_values" if values_of(value) > VALUES else "max_json_depth" if depth_of(value) > DEPTH else None
    assert refusal is None if expected is None else refusal is not None and expected in refusal


@given(JSON, st.randoms(use_true_random=False), st.integers(1, 6))
def test_whatever_is_wrong_with_a_body_no_decoder_meets_more_than_the_bounds(value: Any, chance: random.Random, cuts: int) -> None:
    body = bytearray(written(value, ascii_only=False, indent=None))
    for _ in range(cuts):
        body[chance.randrange(len(body) + 1) : chance.randrange(len(body) + 1)] = bytes([chance.choice(b'"\\[]{},:0 u')])
        body = body or bytearray(b"0")
    if BodyBounds(DEPTH, VALUES).refusal(bytes(body)) is None:
        try:
            decoded = json.loads(bytes(body))
        except ValueError:
            return
        assert values_of(decoded) <= VALUES
        assert depth_of(decoded) <= DEPTH


@given(JSON, st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-32"]))
def test_encodings_that_the_standard_library_guesses_are_bounded_as_well(value: Any, encoding: str) -> None:
    body = written({"": value}, ascii_only=False, indent=None, encoding=encoding)
    if BodyBounds(DEPTH, VALUES).refusal(body) is None:
        assert values_of({"": value}) <= VALUES
        assert depth_of({"": value}) <= DEPTH


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 4_000_000,
        b'{"a":' * 800_000,
        b"[" * 101 + b"]" * 101,
        b"[" * 101 + b"}" * 4_000_000,
        b'["\\\\",' * 101 + b"1" + b"]" * 101,
        b'{"\\"":' * 101 + b"1" + b"}" * 101,
        b'"' + b'","' * 2_000_000,
        b"[" + b"[]," * 1_000_000,
        b'{"a":[' + b'"[",' * 200_000,
    ],
    ids=lambda body: repr(body[:8]),
)
def test_bodies_that_would_cost_the_decoder_too_much_are_refused(body: bytes) -> None:
    assert BodyBounds(100, 100_000).refusal(body) is not None


@pytest.mark.parametrize(
    "text",
    ["A" * 4_000_000, "[{," * 1_000_000, '"' * 1_000_000, "\\" * 1_000_000, '\\"[' * 500_000, "\u00e9," * 500_000],
    ids=lambda text: repr(text[:4]),
)
def test_a_large_body_of_few_values_passes(text: str) -> None:
    body = written({"text": text, "nested": [[text[:1000]]]}, ascii_only=False, indent=None)
    assert BodyBounds(100, 100_000).refusal(body) is None
    assert msgspec.json.decode(body)["text"] == text
