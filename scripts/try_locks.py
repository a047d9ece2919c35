"""Proves that every lock installs where nothing is: `python -m scripts.try_locks`.

Each is resolved and fetched into an empty environment with the pip that the oldest supported Python brings, hashes and all, short of
unpacking. That pip is the strictest reader of a lock: it takes what a lock names, and looks in the index for everything that it does not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.lock import LOCKS, OLDEST_PYTHON, ROOT
from scripts.pythons import find

_INSTALL_SECONDS = 300


def main() -> int:
    """Try them all; returns how many do not install."""
    interpreter = find(OLDEST_PYTHON)
    if interpreter is None:
        print(f"there is no Python {OLDEST_PYTHON} here: the locks are tried with the pip of this one")
    failed = 0
    for lock in LOCKS:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([interpreter or sys.executable, "-m", "venv", folder], check=True)
            pip = [str(Path(folder) / "bin" / "python"), "-m", "pip"]
            version = " ".join(subprocess.run([*pip, "--version"], capture_output=True, text=True, check=True).stdout.split()[:2])
            command = [*pip, "install", "--dry-run", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", lock.name]
            code = subprocess.run(command, cwd=ROOT, timeout=_INSTALL_SECONDS, check=False).returncode
        print(f"{lock.name}: {'does not install' if code else 'installs'} with {version}", flush=True)
        failed += code != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
