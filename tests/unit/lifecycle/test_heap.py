"""When it is worth giving memory back."""

from __future__ import annotations

from moorage.lifecycle.heap import Crowd, give_back


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def seen(crowd: Crowd, clock: Clock, number: int, seconds: int) -> int:
    """How often a crowd has left while there were so many, once a second."""
    times = 0
    for _ in range(seconds):
        clock.now += 1.0
        times += crowd.has_left(number)
    return times


def test_a_crowd_has_left_once_and_not_before_its_connections_are_closed() -> None:
    clock = Clock()
    crowd = Crowd(clock)
    assert seen(crowd, clock, 5000, 5) == 0
    assert seen(crowd, clock, 10, 10) == 0
    assert seen(crowd, clock, 10, 60) == 1


def test_who_comes_back_has_not_left() -> None:
    clock = Clock()
    crowd = Crowd(clock)
    seen(crowd, clock, 5000, 5)
    seen(crowd, clock, 10, 9)
    assert seen(crowd, clock, 4900, 5) == 0
    assert seen(crowd, clock, 10, 10) == 0
    assert seen(crowd, clock, 10, 1) == 1


def test_a_few_are_no_crowd_and_half_of_one_is() -> None:
    clock = Clock()
    crowd = Crowd(clock)
    seen(crowd, clock, 900, 5)
    assert seen(crowd, clock, 0, 60) == 0
    seen(crowd, clock, 8000, 5)
    assert seen(crowd, clock, 4001, 60) == 0
    assert seen(crowd, clock, 4000, 60) == 1
    assert seen(crowd, clock, 0, 60) == 1


def test_giving_back_can_be_asked_for_at_any_time() -> None:
    give_back()
