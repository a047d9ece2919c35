"""An interpreter is found where it lies, and believed when it runs."""

import sys
from pathlib import Path

import pytest

from scripts.pythons import SUPPORTED, find

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty PATH and pyenv's folder."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def program(path: Path, minor: str, code: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nprint('{minor}')\nraise SystemExit({code})\n")
    path.chmod(0o755)
    return str(path)


def test_the_python_that_runs_this_is_there():
    assert HERE in SUPPORTED
    assert find(HERE) == sys.executable


def test_one_that_is_nowhere_is_not_found(machine: Path):
    assert find("3.99") is None


def test_one_on_path_is_found(machine: Path):
    assert find("3.99") is None
    there = program(machine / "bin" / "python3.99", "3.99")
    assert find("3.99") == there


def test_pyenvs_newest_is_found_though_its_entry_on_path_does_not_run(machine: Path):
    program(machine / "bin" / "python3.99", "", code=127)
    program(machine / "pyenv/versions/3.99.9/bin/python3.99", "3.99")
    newest = program(machine / "pyenv/versions/3.99.10/bin/python3.99", "3.99")
    assert find("3.99") == newest


def test_one_of_another_version_is_not_believed(machine: Path):
    program(machine / "bin" / "python3.99", "3.98")
    assert find("3.99") is None
