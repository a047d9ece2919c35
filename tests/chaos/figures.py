"""What a run of the cases says: lines for the terminal, and the page that a full run writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case that was played."""

    name: str
    holds: str
    seconds: float
    figures: Mapping[str, str]
    problems: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether all held that must."""
        return not self.problems

    def line(self) -> str:
        """How it went, with every problem on a line of its own."""
        first = f"{'passed' if self.passed else 'FAILED'}  {self.name} ({self.seconds:.1f} s): {self.holds}"
        return "\n".join([first, *(f"  ! {problem}" for problem in self.problems)])


def table(outcomes: Sequence[Outcome]) -> str:
    """All figures."""
    width = max((len(name) for outcome in outcomes for name in outcome.figures), default=0)
    lines: list[str] = []
    for outcome in outcomes:
        lines += ["", outcome.name, *(f"  {name:<{width}}  {value}" for name, value in outcome.figures.items())]
    return "\n".join([*lines, ""])


def page(outcomes: Sequence[Outcome], seed: int) -> str:
    """The figures as a page of the documentation."""
    lines = [
        "# Reliability figures",
        "",
        f"Written by `make chaos`, seed {seed}. What each case does: [testing](testing.md#chaos).",
        "",
    ]
    for outcome in outcomes:
        lines += [f"## {outcome.name}", "", f"{outcome.holds}: **{'held' if outcome.passed else 'did not hold'}**.", ""]
        lines += [f"- {problem}" for problem in outcome.problems] + ([""] if outcome.problems else [])
        lines += ["| figure | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in outcome.figures.items()), ""]
    return "\n".join(lines)
