"""What `moorage dev` watches: one's own Python files beside the target."""

from pathlib import Path

import pytest
import uvicorn

from moorage.runtime.reload import _Reload, watched_folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.mark.parametrize(
    ("target", "folder"),
    [
        ("tools.py", "."),
        ("tools.py:mcp", "."),
        ("deep/tools.py:mcp", "deep"),
        ("mine:mcp", "."),
        ("package.server:mcp", "package"),
        ("laid_out.server:mcp", "src/laid_out"),
        ("installed_elsewhere:mcp", "."),
    ],
)
def test_the_folder_of_the_targets_own_code_is_watched(here: Path, target: str, folder: str) -> None:
    write(here / "mine.py", here / "package/__init__.py", here / "src/laid_out/__init__.py")
    assert watched_folder(target) == (here / folder).resolve()


def test_other_peoples_code_is_not_watched(here: Path) -> None:
    own = {here / "tools.py", here / "deep/more.py"}
    write(*own, here / "notes.txt", here / ".git/x.py", here / "env/pyvenv.cfg", here / "env/lib/x.py", here / "node_modules/x/x.py")
    config = uvicorn.Config("app:app", reload=True, reload_dirs=[str(here)], log_config=None)
    assert set(_Reload(config, target=lambda _: None, sockets=[]).iter_py_files()) == own
