"""A file with lines of keys that may be replaced or rewritten at any time, as Kubernetes does with a mounted Secret.

Owns noticing that the file is another one, and reading it within a bound. Promises that no content of it reaches a message. Leaves what
the lines mean, and what to do when they are unusable, to whoever reads them.
"""

import os
from pathlib import Path

from moorage.errors import SettingsError


class WatchedFile:
    """A file that is read again when it is another one by time, size or inode.

    Args:
        path: Where it is; links are followed each time.
        what: What it holds, as the messages call it.
        max_bytes: The most that is read.
        hint: What a line looks like.
    """

    __slots__ = ("_hint", "_max_bytes", "_signature", "_what", "path")

    def __init__(self, path: str | Path, *, what: str, max_bytes: int, hint: str) -> None:
        self.path = Path(path)
        self._what = what
        self._max_bytes = max_bytes
        self._hint = hint
        self._signature = self._stat()

    def changed(self) -> bool:
        """Tell whether the file became another one since this was asked last, or since the start.

        To be asked before reading: what is written meanwhile is noticed next time.
        """
        signature = self._stat()
        if signature == self._signature:
            return False
        self._signature = signature
        return True

    def read(self) -> str:
        """Return the content.

        Raises:
            SettingsError: It cannot be read, is too large, or is no text.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(self._max_bytes + 1)
            text = content.decode("utf-8")
        except OSError as exc:
            raise SettingsError(f"cannot read the {self._what} in {self.path}: {exc.strerror}") from exc
        except UnicodeDecodeError:
            raise SettingsError(f"the {self._what} in {self.path} are not UTF-8 text", self._hint) from None
        if len(content) > self._max_bytes:
            raise SettingsError(f"the {self._what} in {self.path} are more than {self._max_bytes} bytes", self._hint)
        return text

    def _stat(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
