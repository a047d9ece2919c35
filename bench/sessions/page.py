"""What the page says: one row a figure, with what it was to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        what: It is of.
        measured: With its unit.
        target: What it was to be; empty when it stands for comparison only.
        met: Whether it is.
    """

    what: str
    measured: str
    target: str = ""
    met: bool = True

    @property
    def row(self) -> str:
        """Its line in the table."""
        verdict = "" if not self.target else "met" if self.met else "**not met**"
        return f"| {self.what} | {self.measured} | {self.target} | {verdict} |"


def table(title: str, note: str, figures: list[Figure]) -> list[str]:
    """A section of the page."""
    return [
        f"## {title}",
        "",
        note,
        "",
        "| figure | measured | target | |",
        "| --- | ---: | --- | --- |",
        *(each.row for each in figures),
        "",
    ]


def at_most(what: str, value: float, unit: str, most: float | None = None, digits: int = 1) -> Figure:
    """A figure that is good when it is small."""
    target = "" if most is None else f"<= {most:g} {unit}"
    return Figure(what, f"{value:.{digits}f} {unit}", target, most is None or value <= most)


def percentile(values: list[float], share: float) -> float:
    """The value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
