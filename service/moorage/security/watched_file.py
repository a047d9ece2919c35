"""A file with lines of keys that may be replaced or rewritten at any time, as Kubernetes does with a mounted Secret.

Owns noticing that the file is another one, and reading it within a bound. A new content counts when two looks in a row have read the same:
a file that is rewritten in place is half written for a moment, and half of the keys would be revoked. Promises that no content reaches a
message, and that a pipe or a device in its place does not block whoever looks. Leaves what the lines mean, and what to do while there is
nothing usable, to whoever reads them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from moorage.errors import SettingsError
from moorage.files import read_file


@dataclass(frozen=True, slots=True)
class Content:
    """The file has a new content, and it is whole."""

    text: str


@dataclass(frozen=True, slots=True)
class Unsettled:
    """There is another content than before; the next look tells whether it is whole."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Nothing in the file can be used; the reason is for the log and for the detail of readiness."""

    reason: str


Look = Content | Unsettled | Unusable | None
"""What a look has found; None: nothing has changed."""


class WatchedFile:
    """A file that is read again when it is another one by time, size or inode.

    Args:
        path: Where it is; links are followed each time.
        what: What it holds, as the messages call it.
        max_bytes: The most that is read.
        hint: What a line looks like.
    """

    __slots__ = ("_hint", "_max_bytes", "_settled", "_signature", "_unsettled", "_what", "path")

    def __init__(self, path: str | Path, *, what: str, max_bytes: int, hint: str) -> None:
        self.path = Path(path)
        self._what = what
        self._max_bytes = max_bytes
        self._hint = hint
        self._signature: tuple[int, ...] | None = self._stat()
        self._settled = True
        self._unsettled: str | None = None

    def read(self) -> str:
        """Return the content. May block for as long as the disk does.

        Raises:
            SettingsError: It cannot be read, is no regular file, is too large, or is no text.
        """
        return read_file(self.path, f"the {self._what} in {self.path}", max_bytes=self._max_bytes, hint=self._hint)

    def look(self) -> Look:
        """See what the file holds now; to be called about once a second. May block for as long as the disk does.

        After `Content` it tells nothing until the file is another one; `Unusable` and `Unsettled` are told at each look.
        """
        signature = self._stat()
        if self._settled and signature == self._signature:
            return None
        self._signature, self._settled = signature, False
        try:
            text = self.read()
        except SettingsError as error:
            self._unsettled = None
            return Unusable(error.message)
        if all(not (entry := line.strip()) or entry.startswith("#") for line in text.splitlines()):
            self._unsettled = None
            return Unusable(f"the file of the {self._what}, {self.path}, {'holds comments alone' if text.strip() else 'is empty'}")
        if text != self._unsettled:
            self._unsettled = text
            return Unsettled()
        self._unsettled, self._settled = None, True
        return Content(text)

    def _stat(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
