"""What a run of the cases says: lines for the terminal, and the page that a full run writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


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


def page(before: str, outcomes: Sequence[Outcome], seed: int, order: Sequence[str]) -> str:
    """The page of the documentation with these outcomes in it; what other runs wrote of other cases stays, in the order of all names."""
    sections = {section.partition("\n")[0]: section.rstrip("\n") for section in before.split("\n## ")[1:]}
    sections |= {outcome.name: _section(outcome, seed) for outcome in outcomes}
    return "\n\n## ".join([_HEAD, *(sections[name] for name in order if name in sections)]) + "\n"


_HEAD: Final = """# Reliability figures

Written by `make chaos` in its full form, each case by the last such run that it was in (`make chaos CHAOS="--case NAME"` runs one).
What each case does: [testing](testing.md#chaos)."""


def _section(outcome: Outcome, seed: int) -> str:
    lines = [outcome.name, "", f"{outcome.holds}: **{'held' if outcome.passed else 'did not hold'}** (seed {seed}).", ""]
    lines += [f"- {problem}" for problem in outcome.problems] + ([""] if outcome.problems else [])
    return "\n".join([*lines, "| figure | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in outcome.figures.items())])
