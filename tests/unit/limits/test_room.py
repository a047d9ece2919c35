"""One principal may hold everything while it is alone, and all but the reserve once there are others; nobody passes the bound."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from moorage.limits.room import Places, Room
from moorage.limits.tenants import Tenants

NAMES = st.sampled_from(["ann", "bob", "cid"])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def tenants(configured: int, clock: Clock | None = None) -> Tenants:
    return Tenants(lambda: configured, 3600, clock or Clock())


@given(most=st.integers(1, 40), reserve=st.floats(0, 0.9), steps=st.lists(st.tuples(NAMES, st.booleans()), max_size=200))
def test_whoever_comes_and_goes_the_bound_and_the_reserve_hold(most: int, reserve: float, steps: list[tuple[str, bool]]) -> None:
    room = Room(most, reserve, tenants(3))
    places = Places(room)
    held: Counter[str] = Counter()
    for name, enters in steps:
        if enters and places.denies(name) is None:
            places.enter(name)
            held[name] += 1
        elif not enters and held[name]:
            places.leave(name)
            held[name] -= 1
        assert places.total == held.total() <= most
        assert max(held.values(), default=0) <= room.free


@given(most=st.integers(1, 40), reserve=st.floats(0, 0.9))
def test_alone_a_principal_may_hold_everything(most: int, reserve: float) -> None:
    places = Places(Room(most, reserve, tenants(1)))
    for _ in range(most):
        assert places.denies("ann") is None
        places.enter("ann")
    assert places.denies("ann") == "full"


def test_a_second_principal_always_finds_room_beside_one_that_holds_all_it_may() -> None:
    places = Places(Room(8, 0.25, tenants(2)))
    while places.denies("ann") is None:
        places.enter("ann")
    assert (places.total, places.denies("ann"), places.denies("bob")) == (6, "share", None)


def test_a_principal_that_was_only_seen_counts_for_as_long_as_it_is_remembered() -> None:
    clock = Clock()
    seen = tenants(1, clock)
    seen.saw("ann")
    assert not seen.several
    seen.saw("bob")
    clock.now = 3599.0
    assert seen.several
    clock.now = 3600.0
    assert not seen.several


@given(parts=st.lists(st.integers(1, 10), max_size=30))
def test_a_room_of_bytes_is_never_overfilled_by_one_large_piece(parts: list[int]) -> None:
    room, taken = Room(40, 0.25, tenants(2)), list[int]()
    for part in parts:
        if room.denies(sum(taken), lambda: sum(taken), part) is None:
            taken.append(part)
        assert sum(taken) <= 30
