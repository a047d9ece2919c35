"""`python -m bench.sessions`: the figures of sessions; writes docs/benchmarks-sessions.md. A part of `make bench`."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import uvloop

from bench import servers
from bench.sessions import calls, memory, relay, takeover
from bench.sessions.page import Figure, table

REPORT = servers.ROOT / "docs" / "benchmarks-sessions.md"

PARTS: dict[str, tuple[str, str, Callable[[], Awaitable[list[Figure]]]]] = {
    "calls": (
        "Calls",
        "CPU time a call, 32 sessions over as many connections, one core for the server; Redis and the load have the other, and what Redis "
        "uses is not counted. *Bare* logs and exports nothing; the *full stack* has an API key, two spans and two histograms to an OTLP "
        "backend, and one JSON log line. The SDK is its own app, in its default mode.",
        lambda: calls.measure(calls=600, rounds=5),
    ),
    "memory": (
        "Memory",
        "Proportional set size of the server's processes, after what was closed is gone; what Redis holds is not counted. A session *in "
        "use lately* is in memory (`sessions.park_after_seconds`), an *idle* one is not. Python's own allocator returns memory only where "
        "nothing at all is left on a mebibyte; with `PYTHONMALLOC=malloc` in the environment a call costs some 5 % more CPU, and nearly "
        "all comes back (`lifecycle/heap.py`).",
        memory.measure,
    ),
    "relay": (
        "Relay",
        "One call at a time, in turn at the owner of the session and at another replica, and the difference. Both have the one core.",
        lambda: relay.measure(pairs=1000),
    ),
    "takeover": (
        "Takeover",
        "From the SIGKILL of the owner's processes to the first result at another replica, whose client asks again 10 ms after an error.",
        lambda: takeover.measure(kills=10, sessions=12),
    ),
}


async def measure(names: list[str]) -> list[str]:
    """The sections of the page."""
    lines: list[str] = []
    for name in names:
        title, note, part = PARTS[name]
        begun = time.perf_counter()
        section = table(title, note, await part())
        print("\n".join(section), f"({time.perf_counter() - begun:.0f} s)\n", flush=True)
        lines += section
    return lines


def main() -> None:
    """Measure, print, and write the page when every part was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.sessions", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; without any, all, and the page is written")
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sections = uvloop.run(measure(options.parts or list(PARTS)))
    if not options.parts:
        options.output.write_text("\n".join([*_heading(), *sections]))


def _heading() -> list[str]:
    return [
        "# Benchmarks of sessions",
        "",
        "<!-- Written by `make bench`. -->",
        "",
        f"Sessions of revision 2025-11-25. {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, mcp {version('mcp')}, "
        f"{os.cpu_count()} cores. Absolute numbers belong to the machine; the ratios, taken in one run, are what we stand for.",
        "",
    ]


if __name__ == "__main__":
    main()
