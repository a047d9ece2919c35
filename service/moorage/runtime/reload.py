"""The development server: uvicorn in a process of its own, started again when a Python file changes.

Owns what is watched: the Python files under the target's folder, without the folders that hold other people's code. A
process that cannot start says why in one line and is tried again at the next change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.supervisors.statreload import StatReload

from moorage.edge.uvicorn_parts import UVICORN_PARTS
from moorage.errors import MoorageError
from moorage.lifecycle.listeners import Listener
from moorage.lifecycle.parts import Parts, require
from moorage.runtime.loop import SERVING_LOOP
from moorage.runtime.startup import PlainStart
from moorage.telemetry import logs

if TYPE_CHECKING:
    from moorage.settings import Settings

_NOT_ONES_OWN: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
_LAST_CONNECTIONS_SECONDS: Final = 1
_PATIENCE_SECONDS: Final = "3"

RELOAD_PARTS: Final[Parts] = {StatReload: ("config", "iter_py_files", "run", "should_restart")}
"""What is relied on of uvicorn's reloader."""

_log = logs.get_logger("moorage.runtime")


def serve_and_reload(settings: Settings) -> int:
    """Serve until Ctrl-C; the environment has to hold the settings, from which every new process reads them.

    Raises:
        MoorageError: The address cannot be listened on, or uvicorn is another release than the one that is built on.
    """
    require("uvicorn", UVICORN_PARTS)
    require("uvicorn", RELOAD_PARTS)
    os.environ["MOORAGE_DRAIN__BUDGET_SECONDS"] = _PATIENCE_SECONDS  # somebody waits for the new code
    os.environ["MOORAGE_DRAIN__SETTLE_SECONDS"] = "0"
    folder = watched_folder(settings.target or "")
    server = settings.server
    listener = Listener("server", server.host, server.port, server.backlog).open()
    listener.set_inheritable(True)
    config = uvicorn.Config(
        "moorage.runtime.reload:dev_app",
        factory=True,
        interface="asgi3",
        loop=SERVING_LOOP,
        http="moorage.edge.http:BoundedProtocol",
        ws="none",
        lifespan="on",
        reload=True,
        reload_dirs=[str(folder)],
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=server.keep_alive_seconds,
        timeout_graceful_shutdown=_LAST_CONNECTIONS_SECONDS,
    )
    host, port = listener.getsockname()[:2]
    _log.info("server.listening", urls=[f"http://{host}:{port}"], watching=str(folder))
    _Reload(config, target=uvicorn.Server(config).run, sockets=[listener]).run()
    return 0


def dev_app() -> PlainStart:
    """Build the app in the process that serves; its settings are in the environment."""
    from moorage.app import create_app

    try:
        return PlainStart(create_app(owns_process=True), _say)
    except MoorageError as refusal:
        _say(refusal)
        sys.exit(refusal.exit_code)


def _say(refusal: MoorageError) -> None:
    _log.error("start.refused", reason=refusal.message, hint=refusal.hint)


def watched_folder(target: str) -> Path:
    """Return the folder that a target's code lives in: that of its file, or of its top-level package here, else this one."""
    path = target.partition(":")[0]
    here = Path.cwd()
    if path.endswith(".py"):
        return (here / path).resolve().parent
    spec = PathFinder.find_spec(path.partition(".")[0], [str(here), str(here / "src")])
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    return here


class _Reload(StatReload):
    """Watches one's own files; uvicorn's would look at every file of a virtual environment four times a second."""

    def iter_py_files(self) -> Iterator[Path]:
        for top in self.config.reload_dirs:
            for folder, inner, files in os.walk(top):
                inner[:] = [name for name in inner if not _is_foreign(folder, name)]
                yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _is_foreign(folder: str, name: str) -> bool:
    return name.startswith(".") or name in _NOT_ONES_OWN or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
