"""`python -m tests`: everything that needs no cluster, and what of the service it reached.

Runs pytest in two processes over all but ``tests/cluster``, follows the processes that tests start, prints the coverage of the service and
fails below the limit. Arguments go to pytest; as they may leave tests out, the limit does not hold then, and that is said.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_PERCENT = 90.0
PROCESSES = "2"


def main(arguments: list[str]) -> int:
    """Run the tests; returns pytest's exit code, or 1 when too little was reached."""
    with tempfile.TemporaryDirectory(prefix="moorage-coverage-") as scratch:
        environment = {**os.environ, "COVERAGE_FILE": str(Path(scratch) / "data")}
        selection = arguments or ["--ignore=tests/cluster", "tests"]
        code = run("-m", "coverage", "run", "-m", "pytest", "-n", PROCESSES, "--dist=worksteal", *selection, environment=environment)
        run("-m", "coverage", "combine", "--quiet", environment=environment)
        run("-m", "coverage", "report", "--precision=1", environment=environment)
        enough = reached_enough(Path(scratch) / "report.json", environment, binding=not arguments)
    return code or (0 if enough else 1)


def run(*arguments: str, environment: dict[str, str]) -> int:
    """Run this interpreter in the repository."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode


def reached_enough(report: Path, environment: dict[str, str], *, binding: bool) -> bool:
    """Print how many branches of the service were taken, and whether that is enough."""
    if run("-m", "coverage", "json", "--quiet", "-o", str(report), environment=environment):
        print("coverage: nothing of the service was measured")
        return not binding
    totals = json.loads(report.read_text())["totals"]
    branches = 100 * totals["covered_branches"] / max(1, totals["num_branches"])
    overall = totals["percent_covered"]
    print(f"coverage of the service: {branches:.1f} % of its branches ({totals['covered_branches']} of {totals['num_branches']}), ", end="")
    print(f"{overall:.1f} % of lines and branches together; at least {LIMIT_PERCENT:.0f} % of each has to be reached")
    if not binding:
        print("coverage: a selection of the tests ran, so the limit does not hold")
        return True
    return min(branches, overall) >= LIMIT_PERCENT


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
