"""`python -m tests.chaos`: break things, and say what was found; the last line is the result.

Exits 0 when everything held, 1 when something did not. The full form writes the figures of its cases to docs/reliability-figures.md.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
import time
import traceback
from contextlib import AsyncExitStack
from pathlib import Path

from tests.chaos.cases import CASES
from tests.chaos.figures import Outcome, page, table
from tests.chaos.run import Case, Run, Shape, Stage

_ROOT = Path(__file__).parents[2]
_FIGURES = _ROOT / "docs" / "reliability-figures.md"
_HISTORIES = _ROOT / ".cache" / "chaos"
_MOST_FILES = 16_384


def main(arguments: list[str]) -> int:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="fewer repetitions: all cases within 4 minutes on 2 cores")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats the choices of another run")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this one; may be given again")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_MOST_FILES, most) if most > 0 else _MOST_FILES, most))
    cases = [case for case in CASES if not options.case or case.name in options.case]
    print(f"chaos: seed {options.seed}, {'short' if options.short else 'full'} form, {len(cases)} cases", flush=True)
    outcomes = asyncio.run(play(cases, seed=options.seed, short=options.short))
    failed = sum(not outcome.passed for outcome in outcomes)
    print(table(outcomes))
    print(f"seed {options.seed}")
    if not options.short:
        _FIGURES.write_text(page(_FIGURES.read_text(), outcomes, options.seed, [case.name for case in CASES]))
        print(f"written to {_FIGURES.relative_to(_ROOT)}")
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


async def play(cases: list[Case], *, seed: int, short: bool) -> list[Outcome]:
    """Run cases one after the other, on one stage as long as they want the same."""
    outcomes: list[Outcome] = []
    shape: Shape | None = None
    stage: Stage | None = None
    async with AsyncExitStack() as exits:
        for case in cases:
            if stage is None or case.shape != shape:
                await exits.aclose()
                stage, shape = await exits.enter_async_context(Stage(case.shape)), case.shape
            outcome = await _play(case, Run(case.name, stage, seed, short))
            outcomes.append(outcome)
            if not outcome.passed:  # the next case is not to suffer for it
                await exits.aclose()
                stage = None
    return outcomes


async def _play(case: Case, run: Run) -> Outcome:
    began = time.monotonic()
    limit = case.seconds[0 if run.short else 1]
    whole = asyncio.timeout(limit)
    try:
        async with run.watching_the_machine(), whole:
            await case.play(run)
    except TimeoutError as error:
        run.problems.append(f"not finished within {limit} s" if whole.expired() else f"a client waited too long: {error!r}")
        run.abandon()
        await run.finish(gaps=True)
    except Exception as error:  # boundary: one case's failure is told, and the others run
        run.problems.append(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    outcome = Outcome(case.name, case.holds, time.monotonic() - began, run.figures, run.problems)
    print(outcome.line(), flush=True)
    if not outcome.passed:
        _keep(run)
    return outcome


def _keep(run: Run) -> None:
    """Leave what a failed case saw behind: its history, and what the replicas logged."""
    folder = _HISTORIES / run.name
    folder.mkdir(parents=True, exist_ok=True)
    run.history.save(folder / "history.jsonl")
    (folder / "replicas.log").write_text(run.stage.fleet.log)
    print(f"  its history and logs are in {folder.relative_to(_ROOT)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
