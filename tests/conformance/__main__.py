"""`python -m tests.conformance [MODE...]`: run the official suite in the modes `single`, `store` and `stateless`, or those named.

`--lock` resolves the suite's packages again. Exits 0 when in each mode exactly the scenarios of its file of expected failures fail, 1 when
others fail or a listed one passes, 2 when there was no verdict. The last line counts scenarios over all modes; a failure that is
expected counts as neither.
"""

from __future__ import annotations

import sys

from tests import npm
from tests.conformance import suite
from tests.conformance.modes import MODES, Mode, serving
from tests.services import ServiceError


def main(arguments: list[str]) -> int:
    """Install, serve, run, and say how it went; the last line is the result."""
    try:
        if arguments == ["--lock"]:
            suite.lock()
            return 0
        modes = chosen(arguments)
        suite.install()
        passed, failed = (sum(counts) for counts in zip(*(prove(mode) for mode in modes), strict=True))
    except (npm.NpmError, suite.SuiteError, ServiceError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def chosen(names: list[str]) -> list[Mode]:
    """The modes of these names, all if there are none.

    Raises:
        SuiteError: There is no mode of such a name.
    """
    known = {mode.name: mode for mode in MODES}
    if unknown := set(names) - set(known):
        raise suite.SuiteError(f"no mode is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


def prove(mode: Mode) -> tuple[int, int]:
    """Run the suite in one mode; gives how many scenarios passed, and how many did not do what was expected of them."""
    print(f"{mode.name}: {mode.description}", flush=True)
    with serving(mode, suite.CACHE / f"{mode.name}.log") as url:
        report = suite.run(url, mode.expected_failures, suite.CACHE / "results" / mode.name)
    wrong = surprises(mode, report)
    if wrong:
        print(report.output)
    tell(mode, report)
    for each in wrong:
        print(f"  WRONG      {each}")
    return len(report.passed), len(wrong)


def surprises(mode: Mode, report: suite.Report) -> list[str]:
    """What is not as expected."""
    wrong = [f"{name} is not as it should be, and not in {mode.expected_failures.name}" for name in report.unexpected]
    wrong += [f"{name} is in {mode.expected_failures.name}, and passes" for name in report.stale]
    if not report.accepted and not wrong:
        wrong.append("the suite is not content (see above)")
    if len(report.passed) < mode.must_pass:
        wrong.append(f"{len(report.passed)} scenarios pass, and {mode.must_pass} have to")
    return wrong


def tell(mode: Mode, report: suite.Report) -> None:
    """Print a mode's summary."""
    for kind, names in (("failed", report.failed), ("warned", report.warned), ("unchecked", report.unchecked)):
        for name in names:
            print(f"  {kind:10} {name}")
    total, own = len(report.passed) + len(report.failed), len(report.passed) - len(report.unchecked)
    expected = len(set(report.failed) - set(report.unexpected))
    print(
        f"  {len(report.passed)} of {total} scenarios pass, {own} of them with checks of their own that ran; "
        f"{expected} fail as {mode.expected_failures.name} says, {len(report.failed) - expected} others fail",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
