"""A memo passes none of its bounds, whatever is put into it, and what is new is always learned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.memo import ENTRY_BYTES, LARGEST_PART, BoundedMemo

KEYS = st.integers(0, 12)
SIZES = st.integers(0, 6 * ENTRY_BYTES)
PUT = st.tuples(st.just("put"), KEYS, SIZES)
STEPS = st.lists(PUT | PUT | PUT | st.tuples(st.just("discard"), KEYS, st.none()) | st.just(("clear", 0, None)), max_size=60)


@given(STEPS, st.integers(1, 9), st.integers(8 * ENTRY_BYTES, 40 * ENTRY_BYTES))
def test_the_newest_that_fit_are_kept_within_both_bounds(steps: list[Any], entries: int, most: int) -> None:
    memo: BoundedMemo[int, int] = BoundedMemo(entries=entries, max_bytes=most)
    kept: dict[int, tuple[int, int]] = {}  # key to answer and size, oldest first
    for number, (step, key, size) in enumerate(steps, start=1):
        if step == "clear":
            memo.clear()
            kept.clear()
        elif step == "discard":
            memo.discard(key)
            kept.pop(key, None)
        else:
            assert memo.put(key, number, size) == number
            kept.pop(key, None)
            if (size + ENTRY_BYTES) * LARGEST_PART <= most:
                kept[key] = number, size + ENTRY_BYTES
            while len(kept) > entries or sum(each for _, each in kept.values()) > most:
                del kept[next(iter(kept))]
        assert {key: memo.get(key) for key in range(13)} == {key: kept.get(key, (None,))[0] for key in range(13)}
        assert len(memo) == len(kept) <= entries
        assert memo.held_bytes == sum(each for _, each in kept.values()) <= most


@given(st.lists(SIZES, max_size=200), st.integers(1, 9))
def test_after_any_flood_what_is_new_is_learned(flood: list[int], entries: int) -> None:
    memo: BoundedMemo[Any, bool] = BoundedMemo(entries=entries, max_bytes=16 * ENTRY_BYTES)
    for key, size in enumerate(flood):
        memo.put(key, True, size)
    memo.put("honest", True, ENTRY_BYTES)
    assert memo.get("honest")


def test_an_entry_that_is_too_large_leaves_nothing_of_its_key_and_pushes_nothing_out() -> None:
    memo: BoundedMemo[str, str] = BoundedMemo(entries=8, max_bytes=8 * ENTRY_BYTES)
    memo.put("a", "old", 0)
    memo.put("b", "small", 0)
    assert memo.put("a", "new", 1) == "new"
    assert (memo.get("a"), memo.get("b"), len(memo)) == (None, "small", 1)


class Meeting:
    """A key during whose comparison something else happens, as a switch of threads or the collector would have it."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile
        self.met = False

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if not self.met:
            self.met = True
            self.meanwhile()
        return self is other


@pytest.mark.parametrize("in_a_thread", [True, False], ids=["in another thread", "in the same thread"])
def test_a_put_within_a_put_remembers_nothing_and_waits_for_nothing(in_a_thread: bool) -> None:
    memo: BoundedMemo[Any, str] = BoundedMemo(entries=8, max_bytes=1 << 20)

    def put() -> None:
        assert memo.put("within", "another", 0) == "another"

    def meanwhile() -> None:
        thread = threading.Thread(target=put)
        thread.start()
        thread.join()

    memo.put(7, "same hash", 0)  # with which the key has to be compared
    memo.put(Meeting(meanwhile if in_a_thread else put), "outer", 0)
    assert memo.get("within") is None
    assert len(memo) == 2
    put()
    assert memo.get("within") == "another"


def test_threads_that_put_and_clear_at_once_leave_it_within_its_bounds() -> None:
    memo: BoundedMemo[tuple[int, int], int] = BoundedMemo(entries=64, max_bytes=1 << 20)
    start = threading.Barrier(4)

    def work(thread: int) -> None:
        start.wait()
        for count in range(3000):
            memo.put((thread, count % 200), count, count % 700)
            memo.discard((thread, count % 50))
            if count % 500 == 0:
                memo.clear()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [key for key in ((thread, count) for thread in range(4) for count in range(200)) if memo.get(key) is not None]
    assert len(kept) == len(memo) <= 64
    for key in kept:
        memo.discard(key)
    assert (len(memo), memo.held_bytes) == (0, 0)
