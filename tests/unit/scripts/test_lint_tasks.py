"""The linter that refuses tasks which nobody supervises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import lint_tasks
from scripts.lint_tasks import starts


@pytest.mark.parametrize(
    "source",
    [
        "asyncio.create_task(work())",
        "self._loop.create_task(work())",
        "asyncio.ensure_future(work())",
        "tasks.start_soon(work)",
        "spawn = partial(tasks.start_soon, contained)",
        "async def f():\n  async with anyio.create_task_group() as tasks: pass",
        "async def f():\n  async with asyncio.TaskGroup() as tasks: pass",
        "from asyncio import create_task",
        "from asyncio import create_task as start",
        "async def f(): await asyncio.gather(a(), b())",
        "async def f(): await asyncio.wait_for(a(), 1)",
        "async def f(): await asyncio.shield(work())",
        "from asyncio import shield",
        "asyncio.to_thread(work)",
        "loop.run_in_executor(None, work)",
        "threading.Thread(target=work).start()",
    ],
)
def test_a_start_of_a_task_is_found_however_it_is_written(source: str) -> None:
    assert [line for line, _ in starts(source)]


@pytest.mark.parametrize(
    "source",
    [
        "scope.contained('event', work)",
        "scope.restarted('event', work)",
        "async def f(): await asyncio.shield(claim)",
        "async def f(): await asyncio.shield(contained('event', work))",
        "async def f(): await asyncio.wait(tasks)",
    ],
)
def test_what_is_supervised_or_starts_nothing_is_let_through(source: str) -> None:
    assert list(starts(source)) == []


def test_the_linter_names_file_and_line_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "loose.py").write_text("import asyncio\n\nasyncio.create_task(work())\n")
    monkeypatch.setattr(lint_tasks, "ROOT", tmp_path)
    monkeypatch.setattr(lint_tasks, "SERVICE", tmp_path)
    with pytest.raises(SystemExit) as ended:
        lint_tasks.main()
    assert ended.value.code == 1
    assert "protocol/loose.py:3: create_task" in capsys.readouterr().out


def test_the_service_starts_no_task_by_itself() -> None:
    assert subprocess.run([sys.executable, "-m", "scripts.lint_tasks"], cwd=lint_tasks.ROOT, check=False).returncode == 0
