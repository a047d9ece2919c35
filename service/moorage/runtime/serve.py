"""The two ways to run the service: `serve` for production, `dev` for the person who writes the tools."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pydantic import SecretStr

from moorage.lifecycle.listeners import Listener
from moorage.runtime.startup import building
from moorage.telemetry import logs

if TYPE_CHECKING:
    from moorage.settings import Settings


def serve(settings: Settings, *, config_path: str | None = None) -> int:
    """Serve until a signal ends the service.

    Args:
        settings: What the workers are given as it is.
        config_path: Where settings came from, if from a file; for the log.

    Returns:
        The status to exit with. gunicorn itself ends the process in the ordinary case, in the master and in every worker.

    Raises:
        SettingsError, TargetError: The service cannot start; nothing of it is left running.
    """
    with building():
        from moorage.runtime.master import Application

    _log_to(settings.logs.level, settings.logs.format, config_path)
    server = settings.server
    Application(_with_shared_keys(settings), Listener("server", server.host, server.port, server.backlog).open()).run()
    return 0


def dev(settings: Settings, *, config_path: str | None = None) -> int:
    """Serve in one process that starts again when a Python file beside the target changes.

    Args:
        settings: What every new process is given as it is.
        config_path: As for `serve`.

    Raises:
        SettingsError: The public address cannot be listened on.
    """
    from moorage.runtime.reload import serve_and_reload
    from moorage.settings_sources import to_environ

    _log_to(settings.logs.level, "console", config_path)
    os.environ.update(to_environ(settings) | {"MOORAGE_LOGS__FORMAT": "console"})
    return serve_and_reload(settings)


def _with_shared_keys(settings: Settings) -> Settings:
    """Settings in which the workers of one service share what seals sessions: what each would make for itself is made before the fork."""
    security = settings.security
    if settings.server.workers == 1 or security.sealing_keys is not None or security.sealing_keys_file is not None:
        return settings
    from moorage.security.keyring import generate

    sealed = security.model_copy(update={"sealing_keys": SecretStr(generate())})
    return settings.model_copy(update={"security": sealed})


def _log_to(level: logs.Level, fmt: logs.Format, config_path: str | None) -> None:
    _occupy_standard_descriptors()
    logs.configure(level, fmt)
    if config_path is not None:
        logs.get_logger("moorage.runtime").info("settings.read", path=config_path)


def _occupy_standard_descriptors() -> None:
    """Give a process that was started without a standard stream an empty one.

    Else a client's connection gets its number, and what some library prints to standard error is sent to that client; gunicorn and
    faulthandler fail without `sys.stderr`.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))
