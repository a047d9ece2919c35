"""One worker process: uvicorn's server under gunicorn's master, as this service needs it.

Owns uvicorn's options and what a worker does when its master ends without it or tells it to hurry. The app is built here,
after the fork. SIGTERM is taken by the app's lifespan (`lifecycle.signals`), which drains before uvicorn hears of it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from typing import Any, Final, cast

from uvicorn_worker import UvicornWorker  # pyright: ignore[reportMissingTypeStubs]

from moorage.edge.http import served_protocol
from moorage.edge.uvicorn_parts import UVICORN_PARTS
from moorage.errors import MoorageError
from moorage.lifecycle.budget import Budget
from moorage.lifecycle.descriptors import Descriptors
from moorage.lifecycle.parts import Parts, require
from moorage.runtime.loop import SERVING_LOOP
from moorage.runtime.startup import PlainStart, building

_HEARTBEAT_SECONDS: Final = 1


WORKER_PARTS: Final[Parts] = {
    UvicornWorker: (
        (
            "init_signals",
            "load_wsgi",
            "run",
            "callback_notify",
            "_install_sigquit_handler",
            "CONFIG_KWARGS",
            "app",
            "config",
            "ppid",
            "wsgi",
        )
    ),
}
"""What is relied on of the inside of uvicorn-worker, and of gunicorn's worker that it is made of."""


def require_worker_parts() -> None:
    """Go on only where what the worker overrides and touches is there; called in the master, before there are workers.

    Raises:
        MoorageError: The installed release is another one.
    """
    require("uvicorn", UVICORN_PARTS)
    require("uvicorn-worker", WORKER_PARTS)


class MoorageWorker(UvicornWorker):
    """Serves the app that `runtime.master.Application` loads."""

    app: Any  # the Application; gunicorn's annotations know WSGI alone
    wsgi: Any

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - as uvicorn_worker declares it
        "loop": SERVING_LOOP,
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_notify": _HEARTBEAT_SECONDS,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logging.getLogger("uvicorn.error").propagate = True
        self.config.http = served_protocol(self.app.settings.http)
        self.config.timeout_graceful_shutdown = cast("int", Budget.of(self.app.settings.drain).connections)  # asyncio takes parts, too
        self._refusal: MoorageError | None = None
        self._descriptors = Descriptors()

    def init_signals(self) -> None:
        """Leave SIGTERM and SIGINT to uvicorn and the lifespan; a terminal's hang-up is for the master."""
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        faulthandler.enable()  # SIGABRT is how the master ends a worker whose loop is blocked: say where

    def load_wsgi(self) -> None:
        """Build the app."""
        try:
            with building():
                super().load_wsgi()
        except MoorageError as refusal:
            self._give_up(refusal)
        finally:  # building the app configures the log, in which these say in ten lines what we say in two
            for name in ("uvicorn.error", "gunicorn.error"):
                logging.getLogger(name).setLevel(self.app.library_log_level)
        self.wsgi = PlainStart(self.wsgi, self._note_refusal)

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            super().run()
        except SystemExit:
            if self._refusal is not None:
                self._give_up(self._refusal)
            raise

    async def callback_notify(self) -> None:
        """Say that the loop turns, and that no file can be opened any more; without a master, end as on SIGTERM."""
        await super().callback_notify()
        self._descriptors.look()
        if os.getppid() != self.ppid:
            signal.raise_signal(signal.SIGTERM)

    def _install_sigquit_handler(self) -> None:
        """Let the master's quick stop begin the drain, or cut it short when it has begun."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, signal.raise_signal, signal.SIGTERM)

    def _note_refusal(self, refusal: MoorageError) -> None:
        self._refusal = refusal

    def _give_up(self, refusal: MoorageError) -> None:
        """End in silence: the master has the words, and takes any other status than 0 for a crash to be logged."""
        self.app.reports.send(refusal)
        sys.exit(0)
