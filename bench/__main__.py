"""`make bench`: a modern `tools/call` through the full stack beside the bare SDK and bare FastMCP; writes docs/benchmarks.md.

Every server has one core and runs for the whole measurement; the rounds visit them in turn, so that a slow moment of the
machine falls on all. Costs are the server's CPU time a call, ratios are medians of the rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import uvloop

from bench import load, servers
from moorage.security.api_keys import generate

REPORT = servers.ROOT / "docs" / "benchmarks.md"
QUIET = {"MOORAGE_LOGS__LEVEL": "warning", "MOORAGE_LOGS__FORMAT": "json"}
SDK, FASTMCP, FULL = "SDK 2.3, default app, bare", "FastMCP 4.1, bare", "moorage, full stack"


@dataclass
class Measured:
    """One server and what its rounds gave."""

    name: str
    server: servers.Server
    request: bytes
    idle_mib: float = 0.0
    cpu_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


def stacks(sink: int, token: str, line: str) -> dict[str, tuple[dict[str, str], str | None]]:
    """Our variants, each one part more than the one before: settings, and the key to call with."""
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}"}
    key = {"MOORAGE_SECURITY__API_KEYS": line}
    log = {"MOORAGE_LOGS__LEVEL": "info", "MOORAGE_LOGS__FORMAT": "json"}
    metrics = {**otlp, "MOORAGE_TELEMETRY__TRACES": "false"}
    return {
        "moorage, nothing exported or logged": (QUIET, None),
        "+ API key": ({**QUIET, **key}, token),
        "+ JSON log line": ({**log, **key}, token),
        "+ metrics to an OTLP backend": ({**log, **key, **metrics}, token),
        FULL: ({**log, **key, **otlp}, token),
    }


async def rounds(measured: list[Measured], calls: int, number: int) -> None:
    """Visit every server in turn, forwards and backwards."""
    for each in measured:
        await load.run(each.server.port, each.request, max(200, calls // 4))
    for index in range(number):
        for each in measured if index % 2 == 0 else measured[::-1]:
            before = each.server.cpu_seconds()
            result = await load.run(each.server.port, each.request, calls)
            each.cpu_us.append((each.server.cpu_seconds() - before) / calls * 1e6)
            each.per_second.append(calls / result.seconds)


def ratio(of: Measured, to: Measured) -> float:
    """How many times cheaper `of` is than `to`: the median over the rounds."""
    return statistics.median(theirs / ours for ours, theirs in zip(of.cpu_us, to.cpu_us, strict=True))


def report(measured: list[Measured], starts: list[float], peer_starts: list[float]) -> str:
    """The page."""
    by_name = {each.name: each for each in measured}
    sdk, fastmcp = by_name[SDK], by_name[FASTMCP]
    lines = [
        "# Benchmarks",
        "",
        "<!-- Written by `make bench`. -->",
        "",
        f"A modern `tools/call` of an async tool, 32 connections, one core for the server. {datetime.now(UTC):%Y-%m-%d}, "
        f"Python {platform.python_version()}, mcp {version('mcp')}, {os.cpu_count()} cores. "
        "Absolute numbers belong to the machine; the ratios are what we stand for.",
        "",
        "| server | CPU µs a call | calls/s | x SDK | x FastMCP | idle MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {each.name} | {statistics.median(each.cpu_us):.0f} | {statistics.median(each.per_second):.0f} "
        f"| {ratio(each, sdk):.2f} | {ratio(each, fastmcp):.2f} | {each.idle_mib:.0f} |"
        for each in measured
    ]
    lines += [
        "",
        "The full stack is: API key, two spans and two histograms exported to an OTLP backend, one JSON log line. "
        "Each row above it has one part less.",
        "",
        f"From start to ready, on the one core: `moorage serve` {statistics.median(starts):.2f} s, the bare SDK under uvicorn "
        f"{statistics.median(peer_starts):.2f} s (medians of {len(starts)} starts each, in turn).",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=3000, help="calls in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    token, line = generate("bench")
    with ExitStack() as running:
        sink = running.enter_context(servers.otlp_sink())
        measured = []
        for name in (SDK, FASTMCP):
            server = running.enter_context(servers.peer("sdk" if name is SDK else "fastmcp"))
            measured.append(Measured(name, server, load.modern_call(server.port)))
        for name, (settings, key) in stacks(sink, token, line).items():
            server = running.enter_context(servers.moorage(settings))
            measured.append(Measured(name, server, load.modern_call(server.port, key)))
        for each in measured:
            each.idle_mib = each.server.memory_mib()
        uvloop.run(rounds(measured, options.calls, options.rounds))
    starts: list[float] = []
    peer_starts: list[float] = []
    for _ in range(5):
        with servers.moorage(QUIET) as server:
            starts.append(server.ready_seconds)
        with servers.peer("sdk") as server:
            peer_starts.append(server.ready_seconds)
    page = report(measured, starts, peer_starts)
    options.output.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
