"""How many bytes of answers wait in this process for clients that are behind.

Whoever has been behind for longest makes room for a newcomer, so that clients which do not read cannot have the answers of others cut off
by being there first.
"""

from __future__ import annotations

from typing import Final, Protocol


class Behind(Protocol):
    """A connection whose client is behind."""

    def unread_bytes(self) -> int:
        """How many bytes wait to be written to it now."""
        ...

    def cut(self, reason: str) -> None:
        """End it at once, and throw away what waits."""
        ...


class UnreadBytes:
    """The connections whose clients are behind, in the order in which they fell behind.

    Attributes:
        bytes: What waited for them when it was last looked at, which is no less than what waits now.
    """

    __slots__ = ("_behind", "bytes")

    def __init__(self) -> None:
        self._behind: dict[Behind, int] = {}
        self.bytes = 0

    def note(self, connection: Behind) -> None:
        """Take note of what waits for a connection; one that is noted again keeps its place in the order."""
        size = connection.unread_bytes()
        self.bytes += size - self._behind.get(connection, 0)
        self._behind[connection] = size

    def forget(self, connection: Behind) -> None:
        """The client has caught up, or the connection is gone."""
        self.bytes -= self._behind.pop(connection, 0)

    def make_room(self, most: int) -> None:
        """Cut connections, those that have been behind for longest first, until `most` bytes are not exceeded.

        The one that fell behind last is never cut: its client has had no time to read, and an answer may be larger than the bound.
        """
        if self.bytes <= most:
            return
        *earlier, _ = self._behind
        for connection in earlier:
            self.note(connection)
        for connection in earlier:
            if self.bytes <= most:
                return
            self.forget(connection)
            connection.cut("unread_limit")


UNREAD: Final = UnreadBytes()
"""Of this process: all its ports share its memory."""
