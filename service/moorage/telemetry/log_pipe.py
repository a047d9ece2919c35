"""The log where another process reads it: a pipe or a socket, which is full when that process does not read.

Promises that a line never waits for the reader: it is written at once, or kept (bounded) and written by a thread when there is room, or
dropped and counted. The other processes that have the descriptor keep their way of writing: O_NONBLOCK belongs to an opening, not to a
descriptor, so it is set on an opening of our own.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

KEPT_BYTES: Final = 4 * 1024 * 1024
"""Bytes of lines that wait for the reader: ten thousand calls, some seconds of a busy process, and little beside what it takes."""

EXIT_SECONDS: Final = 1.0
"""Longest time that the end of the process waits for the reader: one that reads takes all within it."""

_PIPE_BUF: Final = select.PIPE_BUF  # bytes for which a pipe has room when poll says that it can be written to


class Dropped:
    """The account of a process: how many lines were dropped."""

    lines = 0


DROPPED: Final = Dropped()


def is_read_by_a_process(descriptor: int) -> bool:
    """Tell whether a descriptor is a pipe or a socket."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class PipeWriter:
    """Writes lines to a pipe or a socket; safe to call on any thread."""

    def __init__(self, descriptor: int, told: Callable[[int], bytes]) -> None:
        """Take a descriptor, which stays the caller's; `told` renders the line that says how many were dropped."""
        self._descriptor, self._write = _never_waiting(descriptor)
        self._told = told
        self._lock = threading.Lock()
        self._kept: deque[bytes] = deque()
        self._bytes = 0
        self._untold = 0
        self._thread: threading.Thread | None = None

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._descriptor)

    def line(self, line: bytes) -> None:
        """Write a line, keep it or drop it.

        Raises:
            OSError: Nobody will read it.
        """
        with self._lock:
            if not self._kept:
                if not (line := self._rest_of(line)):
                    return
            elif self._bytes + len(line) > KEPT_BYTES:
                self._untold += 1
                DROPPED.lines += 1
                return
            self._keep(line)

    def finish(self) -> None:
        """Wait for the reader, `EXIT_SECONDS` at most."""
        if (thread := self._thread) is not None:
            thread.join(EXIT_SECONDS)

    def forked(self) -> None:
        """Forget, in a child, what is its parent's to write; its thread may have held the lock when the process was copied."""
        self._lock = threading.Lock()
        self._kept.clear()
        self._bytes = self._untold = 0
        self._thread = None

    def _rest_of(self, line: bytes) -> bytes:
        with suppress(BlockingIOError):
            while line:
                line = line[self._write(line) :]
        return line

    def _keep(self, line: bytes) -> None:
        self._kept.append(line)
        self._bytes += len(line)
        if self._thread is None:
            thread = threading.Thread(target=self._catch_up, name="moorage-log", daemon=True)
            with suppress(RuntimeError):  # no thread can be had; the next line tries again
                thread.start()
                self._thread = thread

    def _catch_up(self) -> None:
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        while True:
            room.poll()
            with self._lock:  # a line at a time: whoever logs meanwhile waits for one write and not for all of them
                left = False
                try:
                    left = self._write_oldest()
                finally:
                    if not left:  # after a fault as well: the next line starts another thread
                        self._thread = None
                if not left:
                    return

    def _write_oldest(self) -> bool:
        """Write of the oldest line what there is room for, and tell whether anything is left."""
        line = self._kept.popleft()
        self._bytes -= len(line)
        try:
            rest = self._rest_of(line)
        except OSError:  # nobody will read it
            DROPPED.lines += len(self._kept) + 1
            self._kept.clear()
            self._bytes = self._untold = 0
            return False
        if not rest and not self._kept and self._untold:
            rest, self._untold = self._told(self._untold), 0
        if rest:
            self._kept.appendleft(rest)
            self._bytes += len(rest)
        return bool(self._kept)


def _never_waiting(descriptor: int) -> tuple[int, Callable[[bytes], int]]:
    """Return a descriptor of our own, and what writes to it as much as there is room for or raises `BlockingIOError`."""
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        own = os.dup(descriptor)
        peer = socket.socket(fileno=os.dup(own))
        return own, lambda data: peer.send(data, socket.MSG_DONTWAIT)
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no /proc, or the pipe is another user's
        own = os.dup(descriptor)
    else:
        return own, lambda data: os.write(own, data)
    room = select.poll()
    room.register(own, select.POLLOUT)

    def write(data: bytes) -> int:
        if not room.poll(0):
            raise BlockingIOError
        return os.write(own, data[:_PIPE_BUF])  # waits only if another process has filled the pipe since the line above

    return own, write
