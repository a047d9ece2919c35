"""gunicorn's master, told everything by our settings.

Owns gunicorn's configuration, its logger and its manners. Neither a gunicorn.conf.py nor GUNICORN_CMD_ARGS is read. The
number of workers and the settings stay what they were at the start, so the signals that change them at run time are
refused, and a hang-up ends the service as SIGTERM does.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
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
_RETRY_SECONDS: Final = 60
"""Until a start that failed beside workers that serve is tried again: each costs seconds of their processor, and says why in the log."""
_NO_STATUS: Final = 257
"""Of an exit that `sys.exit` turns into status 1, so that no worker's status equals it."""
_MEMORY_FOLDER: Final = "/dev/shm"  # noqa: S108 - gunicorn makes an unlinked file there; a disk could stall the heartbeat

GUNICORN_PARTS: Final[Parts] = {
    Arbiter: (
        "LISTENERS",
        "app",
        "halt",
        "manage_workers",
        "WORKERS",
        "handle_hup",
        "handle_term",
        "handle_ttin",
        "handle_ttou",
        "handle_usr2",
        "reap_workers",
        "stop",
    ),
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
    """The process that was started: it starts the workers, and says why when they cannot.

    A start has failed when its worker reports why, or ends in any way before it served. That ends the service, unless other workers serve:
    then it is tried again after a pause, in which no other worker is replaced either. Who served and ends is replaced at once.
    """

    app: Any  # the Application

    # gunicorn ends the service when a worker has one of these statuses, whether it served or not, and a tool may end its process with any
    WORKER_BOOT_ERROR = APP_LOAD_ERROR = _NO_STATUS

    _stopping = False
    _reported: MoorageError | None = None
    _next_start = 0.0  # on the monotonic clock

    def reap_workers(self) -> None:
        if not self._stopping:
            self._judge_starts()
        super().reap_workers()

    def manage_workers(self) -> None:
        if not self.WORKERS or time.monotonic() >= self._next_start:
            super().manage_workers()

    def _judge_starts(self) -> None:
        self._reported = self.app.reports.receive() or self._reported
        ends = {worker: end for worker in self.WORKERS.values() if (end := _end_of(worker)) is not None}
        failed = [end for worker, end in ends.items() if not _has_served(worker)]
        if not failed:
            return
        refusal, self._reported = self._reported or _ended_in_its_start(failed[0]), None
        if not any(_has_served(worker) for worker in self.WORKERS.values() if worker not in ends):
            self.app.refusal = refusal
            raise HaltServer(refusal.message)
        self._next_start = time.monotonic() + _RETRY_SECONDS
        _log.error("worker.start_failed", reason=refusal.message, hint=refusal.hint, retry_after_seconds=_RETRY_SECONDS)

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


def _has_served(worker: Any) -> bool:
    """Whether its event loop ever turned: until its first heartbeat the file has the time of day at which it was made."""
    return worker.tmp.last_update() <= time.monotonic()


def _end_of(worker: Any) -> os.waitid_result | None:
    """How a worker has ended, if it has; leaves it for gunicorn to reap."""
    return os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def _ended_in_its_start(end: os.waitid_result) -> MoorageError:
    by_itself = end.si_code == os.CLD_EXITED
    how = f"with status {end.si_status}" if by_itself else f"by signal {end.si_status} ({signal.strsignal(end.si_status)})"
    hint = "What the target does when it is imported or started ends the process; SIGKILL may mean that its memory was used up"
    return MoorageError(f"A worker (process {end.si_pid}) ended {how} before it served", hint)


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
