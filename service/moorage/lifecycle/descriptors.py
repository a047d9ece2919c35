"""Says when the process has no file descriptor left.

libuv takes a connection for which there is none with one that it keeps in reserve, and closes it at once: the loop is told nothing, clients
see resets, and no line of the log says why. So one is opened and closed now and then.
"""

from __future__ import annotations

import errno
import os
import resource

import structlog

from moorage.log_limit import LogLimit

log = structlog.get_logger("moorage.lifecycle")


class Descriptors:
    """Tries whether another file can be opened."""

    def __init__(self) -> None:
        self._limit = LogLimit()

    def look(self) -> None:
        """Write an error, at most once a minute, when there is no descriptor left. Takes microseconds; to be called about once a second."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self._limit.due("exhausted") is not None:
                log.error(  # noqa: TRY400 - the traceback would show this look
                    "descriptors.exhausted",
                    limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                    of="this process" if error.errno == errno.EMFILE else "the whole machine",
                    effect="new connections are reset",
                    hint="raise the limit of open files (ulimit -n, LimitNOFILE), or let a proxy in front bound the connections",
                )
