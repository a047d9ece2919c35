"""Finds an interpreter of each supported Python: `python -m scripts.pythons [MINOR]` prints minor and path, or the path alone.

Looks on PATH (where Debian's packages and pyenv's chosen ones are) and in pyenv's folder of versions, and believes an interpreter only
when it runs and says its version: pyenv puts a `python3.13` on PATH that runs only where it was chosen. Downloads nothing. Runs on the
standard library alone, as there is no environment yet when it is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13")
_ANSWER_SECONDS = 20


def find(minor: str) -> str | None:
    """The path of an interpreter of this minor version that can make environments; None where there is none."""
    return next((path for path in _candidates(minor) if _is(path, minor)), None)


def _candidates(minor: str) -> Iterator[str]:
    if f"{sys.version_info.major}.{sys.version_info.minor}" == minor:
        yield sys.executable
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    yield from (found for folder in folders if (found := shutil.which(f"python{minor}", path=folder)))
    versions = _pyenv_root() / "versions"
    installed = versions.glob(f"{minor}.*/bin/python{minor}") if versions.is_dir() else ()
    yield from sorted(map(str, installed), key=_patch, reverse=True)


def _pyenv_root() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def _patch(path: str) -> tuple[int, ...]:
    """Sorts 3.12.10 after 3.12.9; what is no number (3.13.0rc1) before all that are."""
    parts = Path(path).parents[1].name.split(".")
    return tuple(int(part) if part.isdigit() else -1 for part in parts)


def _is(path: str, minor: str) -> bool:
    says = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"  # Debian packs the first and the last apart
    try:
        done = subprocess.run([path, "-c", says], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and done.stdout.strip() == minor


def main(arguments: list[str]) -> int:
    """Print what there is; 1 where the one that was asked for is not."""
    for minor in arguments or SUPPORTED:
        if (path := find(minor)) is not None:
            print(path if arguments else f"{minor} {path}")
        elif arguments:
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
