"""Resolves the dependencies again and pins them by hash: requirements/{dev,run,bench,clients,build}.txt.

`python -m scripts.lock` keeps each pin that still fits; `--upgrade` moves them all, `--upgrade-package NAME` one. Promises locks that hold
on every supported platform and Python, that run is a part of dev, and that no line names an address to fetch from: whoever installs
decides about the index. Either all files are written or none.

A pinned package stands once plain, and once more with each set of extras that another package asks of it: to the pip that Python 3.11
brings, `pydantic` and `pydantic[email]` are two packages, and of one without a pin it takes the newest, which has no hash here.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"
OPTIONS = ("--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header", "--no-emit-index-url", "--quiet")
ADDRESS = re.compile(r"://|^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b|^[^#]*\s@\s")
PINNED = re.compile(r"^[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+")
ENTRY = re.compile(r"(?m)^(?=[A-Za-z0-9])")
_RESOLVE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file and what it is resolved from, in the resolver's words."""

    name: str
    sources: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it lies."""
        return ROOT / self.name


LOCKS = (  # in this order: each may be constrained by those before it
    Lock("requirements/dev.txt", ("pyproject.toml", "--extra", "langchain", "--extra", "grpc", "--group", "dev")),
    Lock("requirements/run.txt", ("pyproject.toml", "-c", "requirements/dev.txt")),
    Lock("requirements/bench.txt", ("requirements/bench.in", "-c", "requirements/run.txt")),
    Lock("requirements/clients.txt", ("requirements/clients.in",)),
    Lock("requirements/build.txt", ("requirements/build.in",)),
)


def faults(name: str, text: str) -> Iterator[str]:
    """What a lock may not hold: an address, or something without a version and a hash."""
    logical = text.replace("\\\n", " ").splitlines()
    for line in logical:
        shown = line.split("--hash", 1)[0].strip()
        if ADDRESS.search(line):
            yield f"{name}: this line names an address: {shown}"
        elif line.strip() and not line.lstrip().startswith("#") and not (PINNED.match(line) and "--hash=sha256:" in line):
            yield f"{name}: this line is not pinned by version and hash: {shown}"


def resolve(lock: Lock, extra: Sequence[str]) -> None:
    """Write one lock file.

    Raises:
        SystemExit: There is no solution.
    """
    resolver = Path(sys.executable).with_name("uv")
    _run([str(resolver), "pip", "compile", *lock.sources, *OPTIONS, *extra, "--output-file", lock.name], ROOT, lock.name)
    text = lock.path.read_text()
    lock.path.write_text(with_extras(text, extras_wanted(text, lock.name)))
    if found := list(faults(lock.name, lock.path.read_text())):
        raise SystemExit("\n".join(found))


def extras_wanted(text: str, name: str) -> dict[str, list[str]]:
    """Ask the resolver which extras the packages of a lock want of each other: name to sets such as `filetree,memory`.

    Raises:
        SystemExit: The pins do not fit together.
    """
    uv = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    pins = [line.removesuffix("\\").strip() for line in text.splitlines() if PINNED.match(line)]
    project = f'[project]\nname = "pins"\nversion = "0"\nrequires-python = ">={OLDEST_PYTHON}"\ndependencies = {json.dumps(pins)}\n'
    rules = f'[tool.uv]\nprerelease = "{uv["prerelease"]}"\nenvironments = {json.dumps(uv["environments"])}\n'
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_text(project + rules)
        _run([str(Path(sys.executable).with_name("uv")), "lock", "--quiet", "--project", folder], Path(folder), name)
        packages = tomllib.loads((Path(folder) / "uv.lock").read_text())["package"]
    wanted: dict[str, set[str]] = {}
    for package in packages:
        for group in (package.get("dependencies", []), *package.get("optional-dependencies", {}).values()):
            for dependency in group:
                if dependency.get("extra"):
                    wanted.setdefault(dependency["name"], set()).add(",".join(sorted(dependency["extra"])))
    return {package: sorted(sets) for package, sets in wanted.items()}


def with_extras(text: str, wanted: Mapping[str, Sequence[str]]) -> str:
    """Repeat the entries of a lock with the extras that are wanted of them."""
    entries: list[str] = []
    for entry in ENTRY.split(text):
        name = entry.partition("==")[0]
        if "[" not in name:  # an entry with extras is from an earlier lock, if at all
            entries.append(entry)
            entries.extend(f"{name}[{extras}]{entry.removeprefix(name)}" for extras in wanted.get(name, ()))
    return "".join(entries)


def _run(command: Sequence[str], folder: Path, name: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_RESOLVE_SECONDS, check=False)
    if done.returncode:
        raise SystemExit(f"{name} cannot be resolved:\n{done.stderr}")


def main() -> None:
    """Resolve all, or leave all as they were."""
    parser = argparse.ArgumentParser(prog="python -m scripts.lock", description="Pin the dependencies.")
    parser.add_argument("--upgrade", action="store_true", help="move every pin to the newest version that fits")
    parser.add_argument("--upgrade-package", action="append", default=[], metavar="NAME", help="move one pin; may be repeated")
    options = parser.parse_args()
    extra = [*(["--upgrade"] if options.upgrade else []), *(f"--upgrade-package={name}" for name in options.upgrade_package)]
    before = {lock.path: lock.path.read_text() for lock in LOCKS if lock.path.exists()}
    try:
        for lock in LOCKS:
            resolve(lock, extra)
            print(f"{lock.name}: {'as it was' if before.get(lock.path) == lock.path.read_text() else 'changed'}")
    except BaseException:  # boundary: protects the working tree from locks that do not fit together
        for path, text in before.items():
            path.write_text(text)
        raise


if __name__ == "__main__":
    main()
