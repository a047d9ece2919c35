"""gunicorn's master, told everything by our settings.

Owns gunicorn's configuration, its logger and its manners. Neither a gunicorn.conf.py nor GUNICORN_CMD_ARGS is read. The
number of workers and the settings stay what they were at the start, so the signals that change them at run time are
refused, and a hang-up ends the service as SIGTERM does.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from moorage.errors import MoorageError
from moorage.lifecycle.parts import Parts, require
from moorage.runtime.startup import StartReports
from moorage.runtime.worker import MoorageWorker, require_worker_parts
from moorage.telemetry import logs

if TYPE_CHECKING:
    from moorage.settings import Settings

_BLOCKED_LOOP_SECONDS: Final = 60
"""Without a heartbeat for this long a worker is replaced. A start may take as long; in a cluster the liveness probe is faster."""
_AFTER_THE_DRAIN_SECONDS: Final = 5
"""A worker ends itself within its budget (`lifecycle.exit_deadline`); this is for one in which no thread can run any more."""
_MEMORY_FOLDER: Final = "/dev/shm"  # noqa: S108 - gunicorn makes an unlinked file there; a disk could stall the heartbeat

GUNICORN_PARTS: Final[Parts] = {
    Arbiter: ("LISTENERS", "app", "halt", "handle_hup", "handle_term", "handle_ttin", "handle_ttou", "handle_usr2", "reap_workers", "stop"),
    BaseApplication: ("cfg", "load", "load_config", "run"),
    Logger: ("access_log", "error_log", "setup"),
}
"""What is relied on of gunicorn's inside."""

_log = logs.get_logger("moorage.runtime")


class _Log(Logger):
    """gunicorn's log, without handlers of its own."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.access_log.handlers.clear()
        self.error_log.propagate = True


class _Master(Arbiter):
    """The process that was started: it starts the workers, and says why when they cannot."""

    app: Any  # the Application

    _stopping = False

    def reap_workers(self) -> None:
        if not self._stopping:
            self.app.refusal = self.app.reports.receive()
            if self.app.refusal is not None:
                raise HaltServer(self.app.refusal.message)
        super().reap_workers()

    def stop(self, graceful: bool = True) -> None:
        self._stopping = True
        super().stop(graceful)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> NoReturn:
        if self.app.refusal is not None:
            self.stop()
            raise self.app.refusal from None
        super().halt(reason=reason, exit_status=exit_status)
        raise AssertionError("gunicorn's halt ends the process")

    def handle_hup(self) -> NoReturn:
        self.handle_term()
        raise AssertionError("gunicorn's handler of SIGTERM ends the loop")

    def handle_ttin(self) -> None:
        _log.warning("signal.ignored", signal="SIGTTIN", reason="server.workers is fixed while the service runs")

    def handle_ttou(self) -> None:
        _log.warning("signal.ignored", signal="SIGTTOU", reason="server.workers is fixed while the service runs")

    def handle_usr2(self) -> None:
        _log.warning("signal.ignored", signal="SIGUSR2", reason="a new version is rolled out as a new process")


class Application(BaseApplication):
    """What gunicorn is given: a listening socket, settings, and how to build the app in a worker."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self.settings = settings
        self.reports = StartReports()
        self.refusal: MoorageError | None = None
        self.library_log_level = logging.DEBUG if settings.logs.level == "debug" else logging.WARNING
        self._listener = listener
        super().__init__(prog="moorage")

    def load_config(self) -> None:
        """Translate the settings."""
        for name, value in self._options().items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Build the app; called in the worker."""
        from moorage.app import create_app

        return create_app(self.settings, owns_process=True)

    def run(self) -> None:
        """Serve until a signal ends the service; ends the process, in the master and in every worker.

        Raises:
            MoorageError: A worker cannot start, or gunicorn or uvicorn is another release than the one that is built on.
        """
        require("gunicorn", GUNICORN_PARTS)
        require_worker_parts()
        _Master(self).run()

    def _options(self) -> dict[str, object]:
        server = self.settings.server
        return {
            "bind": f"fd://{self._listener.detach()}",
            "backlog": server.backlog,
            "workers": server.workers,
            "worker_class": MoorageWorker,
            "worker_tmp_dir": _MEMORY_FOLDER if os.access(_MEMORY_FOLDER, os.W_OK) else None,
            "keepalive": server.keep_alive_seconds,
            "timeout": _BLOCKED_LOOP_SECONDS,
            "graceful_timeout": math.ceil(self.settings.drain.budget_seconds) + _AFTER_THE_DRAIN_SECONDS,
            "preload_app": False,
            "control_socket_disable": True,
            "logger_class": _Log,
            "loglevel": logging.getLevelName(self.library_log_level).lower(),
            "when_ready": self._announce,
            "proc_name": "moorage",
        }

    def _announce(self, master: Arbiter) -> None:
        urls = [str(listener) for listener in master.LISTENERS]
        _log.info("server.listening", urls=urls, workers=self.settings.server.workers, pid=os.getpid())
