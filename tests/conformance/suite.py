"""Installs the official suite as pinned here into `.cache/conformance` and runs it against a URL; owns what its output means.

The suite compares with the expected failures itself; its exit status is the verdict.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests import npm

HERE: Final = Path(__file__).parent
CACHE: Final = HERE.parents[1] / ".cache" / "conformance"
SUITE: Final = CACHE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"

RUN_SECONDS: Final = 300
SUMMARY_LINE: Final = re.compile(r"^([✓✗]) ([\w-]+): \d+ passed, \d+ failed", re.MULTILINE)


class SuiteError(Exception):
    """The suite could not be run to its end."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the suite said."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    """Scenarios among the passed in which something recommended is missing."""
    unchecked: tuple[str, ...]
    """Scenarios among the passed in which every check was skipped."""
    unexpected: tuple[str, ...]
    """Scenarios that fail, or lack what is recommended, and are not listed so."""
    stale: tuple[str, ...]
    """What is listed as failing and does not."""
    accepted: bool
    """Whether the suite itself is content: nothing unexpected, nothing stale."""
    output: str


def install() -> None:
    """Install the suite, unless what the lock names is installed already.

    Raises:
        NpmError: It cannot be installed.
    """
    npm.install(HERE, CACHE)


def run(url: str, expected_failures: Path, results: Path) -> Report:
    """Run every scenario for servers; what each check said lies in `results` afterwards."""
    shutil.rmtree(results, ignore_errors=True)
    options = ("--suite", "all", "--expected-failures", expected_failures, "--output-dir", results)
    try:
        done = npm.node(SUITE, "server", "--url", url, *options, cwd=CACHE, seconds=RUN_SECONDS)
    except subprocess.TimeoutExpired as expired:
        raise SuiteError(f"the suite did not end within {RUN_SECONDS} s") from expired
    verdicts = SUMMARY_LINE.findall(done.stdout)
    if not verdicts:
        raise SuiteError(
            f"the suite ended with status {done.returncode} and without a summary:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    passed = tuple(name for mark, name in verdicts if mark == "✓")
    failed = tuple(name for mark, name in verdicts if mark == "✗")
    statuses = {name: _statuses(results, name) for name in passed}
    warned = tuple(name for name in passed if "WARNING" in statuses[name])
    unchecked = tuple(name for name in passed if not {"SUCCESS", "WARNING"} & statuses[name])
    unexpected, stale = (_names_under(heading, done.stdout) for heading in ("Unexpected failures", "Stale baseline entries"))
    return Report(passed, failed, warned, unchecked, unexpected, stale, done.returncode == 0, done.stdout + done.stderr)


def _names_under(heading: str, output: str) -> tuple[str, ...]:
    """What the suite lists, one a line, after a heading."""
    found = re.search(rf"{heading} \(.*\n((?:  \S .*\n)+)", output)
    return tuple(line[4:] for line in found[1].splitlines()) if found else ()


def _statuses(results: Path, scenario: str) -> set[str]:
    """How a scenario's own checks ended; those of the messages' schema are the suite's, and not what it is about."""
    [folder] = (folder for folder in results.iterdir() if re.fullmatch(rf"server-{re.escape(scenario)}-\d{{4}}-.*", folder.name))
    checks = json.loads((folder / "checks.json").read_text())
    return {check["status"] for check in checks if not check["id"].startswith("wire-schema-")}


def lock() -> None:
    """Resolve `package.json` again.

    Raises:
        NpmError: It has no solution.
    """
    npm.lock(HERE)
