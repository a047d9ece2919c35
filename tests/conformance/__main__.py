"""`python -m tests.conformance`: run the official suite against `moorage serve`; `--lock` resolves the suite's packages again.

Exits 0 when exactly the scenarios of `expected-failures.yaml` fail, 1 when others fail or a listed one passes, 2 when there was no verdict.
"""

from __future__ import annotations

import sys

from tests.conformance import server, suite

MUST_PASS = 56


def main(arguments: list[str]) -> int:
    """Install, serve, run, and say how it went; the last line is the result."""
    try:
        if arguments == ["--lock"]:
            suite.lock()
            return 0
        suite.install()
        with server.serving(suite.CACHE / "server.log") as url:
            report = suite.run(url)
    except (suite.SuiteError, server.ServerError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    return tell(report)


def tell(report: suite.Report) -> int:
    """Print a report and give the exit status."""
    accepted = report.accepted and len(report.passed) >= MUST_PASS
    if not accepted:
        print(report.output)
    for name in report.failed:
        print(f"  failed     {name}")
    for name in report.warned:
        print(f"  warned     {name} (it passes, and lacks what is recommended)")
    for name in report.unchecked:
        print(f"  unchecked  {name} (it passes, but skipped every check of its own)")
    if not accepted:
        wanted = f"at least {MUST_PASS} have to pass, and what fails has to be what {suite.EXPECTED_FAILURES.name} lists"
        print(f"{len(report.passed)} passed, {len(report.failed)} failed: {wanted}")
        return 1
    print(f"{len(report.passed)} passed, {len(report.failed)} expected failures")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
