"""What a run says at its end."""

from __future__ import annotations

from tests.chaos.figures import Outcome, page, table
from tests.chaos.run import percentile, spread

HELD = Outcome("storm", "all are back", 1.5, {"streams": "7"}, [])
BROKE = Outcome("kill", "nothing is lost", 2.5, {"kills": "20"}, ["lost: one"])


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 201)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [100, 198, 200]
    assert percentile([7.0], 99) == 7
    assert spread([0.001, 0.002, 0.5]) == "n=3 p50=2 ms p99=500 ms max=500 ms"


def test_a_case_passes_only_without_a_problem() -> None:
    assert (HELD.passed, BROKE.passed) == (True, False)
    assert BROKE.line().splitlines() == ["FAILED  kill (2.5 s): nothing is lost", "  ! lost: one"]


def test_figures_are_shown_for_every_case() -> None:
    assert "  streams  7" in table([HELD, BROKE])
    written = page("", [HELD, BROKE], 9, ["kill", "storm"])
    assert "nothing is lost: **did not hold** (seed 9)." in written
    assert "| kills | 20 |" in written


def test_a_run_of_some_cases_leaves_the_figures_of_the_others_on_the_page() -> None:
    order = ["kill", "clocks", "storm"]
    before = page("", [HELD, BROKE], 9, order)
    after = page(before, [Outcome("storm", "all are back", 1.5, {"streams": "8"}, [])], 11, order)
    changed = [(old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert changed == [
        ("all are back: **held** (seed 9).", "all are back: **held** (seed 11)."),
        ("| streams | 7 |", "| streams | 8 |"),
    ]
    assert page(before, [], 11, order) == before
    assert [line for line in after.splitlines() if line.startswith("## ")] == ["## kill", "## storm"]
