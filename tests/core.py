"""`python -m tests.core MINOR`: a core of the suites on another Python than this one, in an environment of its own from the same locks.

What differs between Pythons is the language's runtime, not what is written above it: event loop, threads, signals, processes and the
standard library. So the core has the rooms that touch these, and one module of each kind of whole process.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.pythons import find

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements/run.txt", "requirements/build.txt", "requirements/dev.txt")
ROOMS = ("edge", "lifecycle", "protocol", "runtime", "scripts", "security", "sessions", "store", "telemetry")
PROCESSES = ("test_serve_process", "test_drain_process", "test_alone_sessions", "test_shared_sessions")
SELECTION = (*(f"tests/unit/{room}" for room in ROOMS), *(f"tests/integration/{name}.py" for name in PROCESSES))


def main(arguments: list[str]) -> int:
    """Run the core; returns pytest's exit code.

    Raises:
        SystemExit: There is no such Python here, or the locks do not install with it.
    """
    if len(arguments) != 1:
        raise SystemExit("usage: python -m tests.core MINOR, such as 3.12")
    interpreter = find(arguments[0])
    if interpreter is None:
        raise SystemExit(f"there is no Python {arguments[0]} here")
    python = environment(interpreter, arguments[0])
    command = [python, "-m", "pytest", "-n", "2", "--dist=worksteal", *SELECTION]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def environment(interpreter: str, minor: str) -> str:
    """The interpreter of an environment that has what the locks pin; made anew when they changed."""
    folder = ROOT / ".cache" / f"python-{minor}"
    python, stamp = folder / "bin" / "python", folder / ".ready"
    pins = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in (*LOCKS, "pyproject.toml"))).hexdigest()
    if stamp.exists() and stamp.read_text() == pins:
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([interpreter, "-m", "venv", str(folder)])
    _run([*pip, "--require-hashes", *(part for name in LOCKS for part in ("-r", name))])
    _run([*pip, "--no-deps", "--no-build-isolation", "--editable", "."])
    stamp.write_text(pins)
    return str(python)


def _run(command: list[str]) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
