"""What the product logs, read by a test in the same process, whatever ran before it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog._config import BoundLoggerLazyProxy
from structlog.testing import capture_logs  # noqa: TID251 - the one place
from structlog.typing import EventDict


@contextmanager
def logged() -> Iterator[list[EventDict]]:
    """Yield every event of any level that is logged meanwhile.

    Once `logs.configure` has run in a process, a logger keeps the level and the pipeline of its first use for good, and structlog's own
    `capture_logs` would see nothing of it. So what loggers keep is dropped here, before and after, and the configuration put back.
    """
    before, configured = structlog.get_config(), structlog.is_configured()
    structlog.reset_defaults()  # every level, and nothing is kept
    _forget()
    try:
        with capture_logs() as events:
            yield events
    finally:
        if configured:
            structlog.configure(**before)
        else:
            structlog.reset_defaults()
        _forget()


def _forget() -> None:
    for logger in [it for it in gc.get_objects() if type(it) is BoundLoggerLazyProxy]:
        vars(logger).pop("bind", None)
