"""`python -m tests.clients [NAME...]`: drive every client, or those whose name begins so, and print what each can do.

`--lock` resolves the npm packages again. Exits 0 when every client can do everything that its revision has, 1 when one cannot, 2 when the
clients could not be driven. The last line counts the cells of both tables; what a revision does not have counts as neither.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests import npm
from tests.clients.driver import Driver, Refused
from tests.clients.features import MODERN, WITH_STORE, WITHOUT_STORE, Attempt, Feature, Wrong
from tests.clients.stage import Stage, staged
from tests.services import ServiceError

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
CACHE: Final = ROOT / ".cache" / "clients"
PYTHON: Final = ROOT / ".venv-clients" / "bin" / "python"
OK: Final = "ok"
FEATURE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A client, in the guise of one revision."""

    name: str
    command: tuple[str | Path, ...]
    guise: str


KINDS: Final = (
    Kind("python-1.30", (PYTHON, HERE / "drivers" / "python.py"), "2025-11-25"),
    Kind("typescript-1.32", (npm.NODE, CACHE / "v1.mjs"), "2025-11-25"),
    Kind("typescript-2.4-2025-06-18", (npm.NODE, CACHE / "v2.mjs"), "2025-06-18"),
    Kind("typescript-2.4-2025-11-25", (npm.NODE, CACHE / "v2.mjs"), "2025-11-25"),
    Kind("typescript-2.4-2026-07-28", (npm.NODE, CACHE / "v2.mjs"), MODERN),
)


def main(arguments: list[str]) -> int:
    """Install, drive, and say how it went; the last line is the result."""
    try:
        if arguments == ["--lock"]:
            npm.lock(HERE)
            return 0
        kinds = chosen(arguments)
        install()
        return asyncio.run(prove(kinds))
    except (npm.NpmError, ServiceError) as error:
        print(f"clients: {error}", file=sys.stderr)
        return 2


def chosen(names: list[str]) -> list[Kind]:
    """The clients whose names begin so, all if nothing is named.

    Raises:
        ServiceError: There is none of such a name.
    """
    for name in names:
        if not any(kind.name.startswith(name) for kind in KINDS):
            raise ServiceError(f"no client is called {name}; there are {', '.join(kind.name for kind in KINDS)}")
    return [kind for kind in KINDS if not names or kind.name.startswith(tuple(names))]


def install() -> None:
    """Put the TypeScript clients and the programs around them where their packages are found.

    Raises:
        NpmError, ServiceError: A client is missing.
    """
    if not PYTHON.exists():
        raise ServiceError("the Python client is not installed: make .venv-clients/.ready")
    npm.install(HERE, CACHE)
    for program in (HERE / "drivers").glob("*.mjs"):
        shutil.copyfile(program, CACHE / program.name)


async def prove(kinds: Sequence[Kind]) -> int:
    """Drive the clients in both ways of serving."""
    began = time.monotonic()
    verdicts: list[str] = []
    for title, features, replicas, store in (
        ("three replicas behind a round robin, with Redis", WITH_STORE, 3, True),
        ("two replicas behind a round robin, sharing a sealing key alone", WITHOUT_STORE, 2, False),
    ):
        print(title, flush=True)
        async with staged(replicas, store=store, log=CACHE / f"{'store' if store else 'stateless'}.log") as stage:
            columns = [await drive(kind, features, stage) for kind in kinds]
        print(table(kinds, features, columns), flush=True)
        verdicts += [verdict for column in columns for verdict in column]
    passed, failed = verdicts.count(OK), sum(verdict.startswith("FAILED") for verdict in verdicts)
    print(f"in {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


async def drive(kind: Kind, features: Sequence[Feature], stage: Stage) -> list[str]:
    """Have one client try each feature; gives its column of the table."""
    column: list[str] = []
    async with Driver(kind.command, CACHE) as driver:
        for feature in features:
            absent = feature.absent if kind.guise == MODERN else feature.older
            began = time.monotonic()
            verdict = f"- {absent}" if absent else await attempt(feature, Attempt(stage, driver, kind.guise))
            column.append(verdict)
            if verdict != OK and not absent:
                print(f"  {kind.name}: {feature.name}: {verdict}", flush=True)
            print(f"  {kind.name}: {feature.name}: {time.monotonic() - began:.1f}", flush=True)
    return column


async def attempt(feature: Feature, trial: Attempt) -> str:
    """Try one feature, and put the stage in order again."""
    try:
        async with asyncio.timeout(FEATURE_SECONDS):
            try:
                await feature.prove(trial)
            finally:
                await trial.stage.mend()
                await trial.leave()
    except (Wrong, Refused, ServiceError) as error:
        return f"FAILED {error}"
    except TimeoutError:
        return f"FAILED not within {FEATURE_SECONDS:g} s"
    return OK


def table(kinds: Sequence[Kind], features: Sequence[Feature], columns: Sequence[Sequence[str]]) -> str:
    """Features by clients."""
    head = ["", *(kind.name for kind in kinds)]
    rows = [[feature.name, *(column[number] for column in columns)] for number, feature in enumerate(features)]
    cells = [[cell if len(cell) < 40 else f"{cell[:36]}..." for cell in row] for row in (head, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    return "\n".join("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
