"""What is said when a target cannot be imported.

Owns the words. Promises one line with the exception's type and message, and the file and line in the user's own code where it came from.
"""

import difflib
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from moorage.errors import TargetError

SPELLING: Final = "write TARGET as module:attribute or path/to/file.py[:attribute]"
_MAX_MESSAGE: Final = 300
_HERE: Final = Path(__file__).parent


@contextmanager
def told_as_target_error(place: str, root: Path) -> Generator[None]:
    """Turn whatever the target's own code raises into one line that says where."""
    try:
        yield
    except TargetError:
        raise
    except (Exception, SystemExit) as exc:  # boundary: code that is not ours runs here; whoever wrote it wants the line, not our stack
        raise TargetError(f"{place} failed: {_summary(exc)} ({_where(exc, root)})", _hint(exc)) from exc


def _summary(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return f"it ended the process with sys.exit({exc.code!r})"
    text = exc.msg if isinstance(exc, SyntaxError) else str(exc)
    first = (text.strip().splitlines() or [""])[0][:_MAX_MESSAGE]
    return f"{type(exc).__name__}: {first}" if first else type(exc).__name__


def _where(exc: BaseException, root: Path) -> str:
    """Name file and line of the innermost frame that belongs to the user."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}, line {exc.lineno}"
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not frame.filename.startswith(("<frozen ", str(_HERE)))]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root) and "site-packages" not in frame.filename]
    chosen = (own or frames)[-1:]
    return f"{chosen[0].filename}, line {chosen[0].lineno}" if chosen else "before its first line"


def _hint(exc: BaseException) -> str:
    if isinstance(exc, ModuleNotFoundError) and exc.name is not None and exc.name.startswith("mcp.server.fastmcp"):
        return "this is code for mcp 1: in mcp 2 FastMCP is called MCPServer (from mcp.server.mcpserver import MCPServer)"
    if isinstance(exc, ModuleNotFoundError):
        return "install what it imports into the environment that moorage runs in"
    if isinstance(exc, ImportError) and "relative import" in str(exc):
        return "it is part of a package: name it as module:attribute from the package's parent directory"
    if "asyncio in this thread" in str(exc):
        return 'moorage runs the server: keep run() below `if __name__ == "__main__":`'
    return ""


def similar_files(path: Path) -> str:
    """Say which Python files lie where one was looked for."""
    try:
        names = sorted(item.name for item in path.parent.iterdir() if item.suffix == ".py")
    except OSError:
        return f"; there is no directory {path.parent} either" if not path.parent.is_dir() else ""
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5) or names[:3]
    return f"; there is {', '.join(near)}" if near else ""
