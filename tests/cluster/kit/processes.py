"""Components as processes that outlive this command.

A component is known by a file with its process id **and** its start time, so that a process id that was used again is never mistaken
for it and never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.cluster.kit.layout import BIN, CONTAINERD_SOCKET, LOGS, STATE
from tests.cluster.kit.shell import environment


def _state_and_start(pid: int) -> tuple[str, str]:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return fields[0], fields[19]


def alive(name: str) -> int | None:
    """The component's process id while it runs, else None."""
    try:
        pid, started = (STATE / f"{name}.pid").read_text().split()
        state, start = _state_and_start(int(pid))
    except (OSError, ValueError):
        return None
    return int(pid) if start == started and state != "Z" else None


def start(name: str, *command: object) -> None:
    """Start a component unless it runs; its output goes to its log."""
    if alive(name):
        return
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(c) for c in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,
            cwd=STATE,
        )
    (STATE / f"{name}.pid").write_text(f"{process.pid} {_state_and_start(process.pid)[1]}")
    process.returncode = 0  # it is meant to outlive us: nothing here waits for it, and no warning is due


def stop(name: str, grace_seconds: float = 20) -> None:
    """Ask a component to end, make it end after the grace."""
    if pid := alive(name):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while alive(name) and time.monotonic() < deadline:
            time.sleep(0.1)
        if alive(name):
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
    (STATE / f"{name}.pid").unlink(missing_ok=True)


def kill_shims() -> None:
    """End the containerd shims of this cluster alone: they outlive containerd by design."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = os.readlink(process / "exe").removesuffix(" (deleted)")
            ours = program == str(BIN / "containerd-shim-runc-v2") and str(CONTAINERD_SOCKET).encode() in (process / "cmdline").read_bytes()
        except OSError:
            continue
        if ours:
            os.kill(int(process.name), signal.SIGKILL)
