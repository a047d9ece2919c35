"""Reading a file that a setting names, within a bound.

Promises that a pipe, a device or a huge file in its place neither blocks nor fills whoever reads, and that no content reaches a message.
Leaves what the text means to whoever reads it.
"""

import os
import stat
from pathlib import Path

from moorage.errors import SettingsError


def read_file(path: str | Path, name: str, *, max_bytes: int, hint: str = "") -> str:
    """Return the text of a regular file, without a byte order mark; links are followed. May block for as long as the disk does.

    Args:
        path: Where it is.
        name: What the messages call it, with its path or its setting.
        max_bytes: The most that is read.
        hint: What to do about a file that cannot be used; what is read at all, unless given.

    Raises:
        SettingsError: It cannot be read, is no regular file, is larger, or is not UTF-8.
    """
    content = read_bytes(path, name, max_bytes=max_bytes, hint=hint)
    try:
        return content.decode("utf-8-sig")  # some editors begin UTF-8 with a byte order mark, which would count to the first line
    except UnicodeDecodeError:
        raise SettingsError(f"cannot read {name}: this is not UTF-8 text", hint or "What is read is UTF-8 text.") from None


def read_bytes(path: str | Path, name: str, *, max_bytes: int, hint: str = "") -> bytes:
    """Return the content of a regular file, as `read_file` does.

    Raises:
        SettingsError: It cannot be read, is no regular file, or is larger.
    """
    hint = hint or f"What is read is a regular file of at most {max_bytes} bytes."
    try:
        content = _read(path, max_bytes + 1)
    except OSError as exc:
        raise SettingsError(f"cannot read {name}: {exc.strerror}", hint) from exc
    except ValueError:
        raise SettingsError(f"cannot read {name}: a path has no NUL", hint) from None
    if content is None:
        raise SettingsError(f"cannot read {name}: this is no regular file", hint)
    if len(content) > max_bytes:
        raise SettingsError(f"cannot read {name}: there are more than {max_bytes} bytes", hint)
    return content


def _read(path: str | Path, max_bytes: int) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)  # a file object of a folder cannot be made, and the descriptor would stay open
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(max_bytes)
