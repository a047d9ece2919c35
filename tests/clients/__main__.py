"""`python -m tests.clients [NAME...]`: drive every client, or those whose name begins so, and print what each can do.

`--lock` resolves the npm packages again. Exits 0 when every client can do everything that it and its revision have, 1 when one cannot, 2
when the clients could not be driven. The last line counts the cells of all tables; what a revision or a client itself does not have counts
as neither.
"""

from __future__ import annotations

import asyncio
import sys
import time

from tests import npm
from tests.clients import trial
from tests.clients.kinds import CACHE, HERE, PYTHON, Kind, kinds
from tests.clients.modes import MODES
from tests.services import ServiceError


def main(arguments: list[str]) -> int:
    """Install, drive, and say how it went; the last line is the result."""
    try:
        if arguments == ["--lock"]:
            npm.lock(HERE)
            return 0
        install()
        return asyncio.run(prove(chosen(arguments)))
    except (npm.NpmError, ServiceError) as error:
        print(f"clients: {error}", file=sys.stderr)
        return 2


def install() -> None:
    """Put the TypeScript clients and the programs around them where their packages are found.

    Raises:
        NpmError, ServiceError: A client is missing.
    """
    if not PYTHON.exists():
        raise ServiceError("the Python client is not installed: make .venv-clients/.ready")
    npm.install(HERE, CACHE)
    for program in (HERE / "drivers").glob("*.mjs"):
        (CACHE / program.name).write_bytes(program.read_bytes())


def chosen(names: list[str]) -> list[Kind]:
    """The clients whose names begin so, all if nothing is named.

    Raises:
        ServiceError: There is none of such a name.
    """
    known = kinds()
    for name in names:
        if not any(kind.name.startswith(name) for kind in known):
            raise ServiceError(f"no client is called {name}; there are {', '.join(kind.name for kind in known)}")
    return [kind for kind in known if not names or kind.name.startswith(tuple(names))]


async def prove(clients: list[Kind]) -> int:
    """Drive the clients in every way of serving."""
    began, passed, failed = time.monotonic(), 0, 0
    for mode in MODES:
        print(f"{mode.name}: {mode.description}", flush=True)
        columns = await trial.columns(mode, clients)
        print(trial.table(mode, clients, columns), flush=True)
        verdicts = [verdict for column in columns for verdict in column]
        passed += sum(verdict.kind is trial.Kept.OK for verdict in verdicts)
        failed += sum(verdict.kind is trial.Kept.FAILED for verdict in verdicts)
    print(f"in {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
