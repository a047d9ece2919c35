"""A line is written at most once a minute of each kind, and says how many were left out before it."""

from moorage.log_limit import LogLimit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_of_a_kind_is_written_and_more_only_a_minute_later_with_their_number() -> None:
    clock = Clock()
    limit = LogLimit(clock)
    assert [limit.due("stranger") for _ in range(5)] == [0, None, None, None, None]
    clock.now = 59.9
    assert limit.due("stranger") is None
    clock.now = 60
    assert [limit.due("stranger"), limit.due("stranger")] == [5, None]


def test_kinds_do_not_keep_each_other_back() -> None:
    limit = LogLimit(Clock())
    assert [limit.due("stranger"), limit.due("stale"), limit.due("stale")] == [0, 0, None]
