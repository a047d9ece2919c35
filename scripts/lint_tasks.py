"""Refuses every start of a task under service/ that does not go through `moorage.lifecycle.supervised`.

ruff can ban functions by their module, but not methods (`loop.create_task`, `tasks.start_soon`), so the calls are found by name, whatever
they are called on. What only awaits a task that exists (`asyncio.shield(task)`) starts none and is allowed where its argument is a
name or a call of `contained`; `asyncio.wait` and `asyncio.timeout` start none. Names the file and line of each finding, and ends with 1
when there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICE = ROOT / "service" / "moorage"

ALLOWED = ("lifecycle/supervised.py", "client/")
"""The module that starts them, and the client: it runs in somebody else's process, whose task groups are to see its exceptions."""

STARTS = frozenset(
    {
        "Runner",
        "TaskGroup",
        "Thread",
        "as_completed",
        "create_task",
        "create_task_group",
        "ensure_future",
        "gather",
        "run_coroutine_threadsafe",
        "run_in_executor",
        "start_blocking_portal",
        "start_new_thread",
        "start_soon",
        "to_thread",
        "wait_for",
    }
)
AWAITS = frozenset({"shield"})
"""Starts a task only where it is given a coroutine."""

THREADS = {
    "telemetry/bootstrap/__init__.py": "Thread",
    "app.py": "to_thread",
    "lifecycle/threads.py": "Thread",
    "lifecycle/loop_watch.py": "Thread",
    "lifecycle/exit_deadline.py": "Thread",
    "telemetry/log_pipe.py": "Thread",
}
"""The last flush of telemetry blocks for seconds, and must not hold up the loop; its own function catches what exporters raise. Files with
keys are read in a thread because a disk may hang; whoever awaits it is restarted work, and gets what it raises. What plain
functions of the team's code raise, whatever it is, is given to their caller. What watches the event loop cannot run on it; it takes note
of its own faults. Nor can what ends the process when the loop does not end; whatever fails in it, it ends the process. What
waits for the reader of the log must neither wait on the loop nor log; after a fault the next line starts one."""


def main() -> None:
    """Look at every module of the service."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} starts a task: use moorage.lifecycle.supervised (contained, restarted)"
        for path in sorted(SERVICE.rglob("*.py"))
        if not (place := path.relative_to(SERVICE).as_posix()).startswith(ALLOWED)
        for line, name in starts(path.read_text(encoding="utf-8"))
        if THREADS.get(place) != name
    ]
    print("\n".join(found) or "tasks: each is started by moorage.lifecycle.supervised")
    sys.exit(1 if found else 0)


def starts(source: str) -> Iterator[tuple[int, str]]:
    """Where a module starts tasks: line and name of each use, calls and references (`partial(tasks.start_soon, ...)`) alike."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in STARTS:
                yield node.lineno, name
            case ast.ImportFrom():
                yield from ((node.lineno, alias.name) for alias in node.names if alias.name in STARTS | AWAITS)
            case ast.Call(func=ast.Attribute(attr=name)) if name in AWAITS and not _is_task(node):
                yield node.lineno, name
            case _:
                pass


def _is_task(call: ast.Call) -> bool:
    match call.args:
        case [ast.Name() | ast.Attribute()]:
            return True
        case [ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))]:
            return name == "contained"
        case _:
            return False


if __name__ == "__main__":
    main()
