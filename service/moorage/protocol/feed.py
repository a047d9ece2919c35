"""One SSE stream of a session that has an event log: every event is kept before it is shown.

Promises a total order, that the live reader sees what the log has and nothing twice, and that history and live events join without a gap:
appending and joining hold the same lock, which is not let go while it is unknown whether the log has an event. An event that cannot
be kept, because the session is not ours any more, still reaches a client that is connected, without an id; where none is, whoever emits
is told.

Source: docs/decisions/2026-11-24-event-log.md
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from moorage.lifecycle.supervised import contained
from moorage.protocol.encoding import encode, encode_answer, sse_frame
from moorage.protocol.reader import Reader
from moorage.store.outage import StoreUnavailable
from moorage.store.sessions import Fenced, Write
from moorage.streams.position import Position, base36, epoch_of, id_prefix, recoverable

if TYPE_CHECKING:
    from moorage.store.sessions import Entry, Lease

_RETRY_SECONDS: Final = 0.1

_PROGRESS: Final = "notifications/progress"

OUTCOME_UNKNOWN: Final = -32011
"""JSON-RPC error code of a call whose replica was lost: whether it took effect is unknown, and moorage may not run it again."""

OUTCOME_UNKNOWN_MESSAGE: Final = (
    "Outcome unknown: the replica that ran this call was lost before it answered. The tool may have taken effect or not;"
    " only tools annotated readOnlyHint or idempotentHint are run again"
)


def outcome_unknown() -> MCPError:
    """The error that ends an orphaned call."""
    return MCPError(code=OUTCOME_UNKNOWN, message=OUTCOME_UNKNOWN_MESSAGE)


class Feed:
    """A stream and its live reader, if it has one.

    Attributes:
        name: The stream, in the log.
        reader: Who sees its events at once; whoever else comes back later reads them from the log.
        again: Whether a later owner runs the call again.
        begun: Whether who reads it here was given a position to come back with.
        answered: Whether the log has the answer, which is the last event of a stream.
    """

    __slots__ = ("_lease", "_prefix", "_primes", "_registration", "again", "answered", "begun", "name", "reader")

    def __init__(self, lease: Lease, name: str, registration: bytes | None = None, *, primes: bool = False) -> None:
        """Begin or go on with a stream.

        Args:
            lease: The hand on the session.
            name: Of the stream.
            registration: What a later owner needs to end the stream; None where the log has it, or has no use for it.
            primes: Whether the first reader is given a position before the first event: as soon as the log knows the stream.
        """
        self._primes = primes
        self._lease = lease
        self._prefix = id_prefix(lease.tag, lease.epoch, name).encode()
        self._registration = registration
        self.name = name
        self.again = False
        self.begun = False
        self.answered = False
        self.reader: Reader | None = None

    def event_id(self, offset: int) -> bytes:
        """The id that stands for a position in this stream."""
        return self._prefix + base36(offset).encode()

    def priming(self, offset: int) -> bytes:
        """An event without data that gives a client its first position (MCP 2025-11-25)."""
        return b"id: " + self.event_id(offset) + b"\r\ndata: \r\n\r\n"

    async def register(self) -> None:
        """Have the log know the stream before its first event.

        Raises:
            Fenced.
        """
        async with self._lease.lock:
            await self._append()

    async def begin(self, reader: Reader, registration: bytes | None) -> int:
        """Make this the live reader from now on; returns the offset that its client is at.

        A stream that is begun again needs no `registration`.

        Raises:
            Fenced.
        """
        async with self._lease.lock:
            self._registration = registration
            offset = await self._append() - 1
            self._check()
            self.attach(reader)
        return offset

    async def emit(self, message: Any, *, last: bool = False) -> None:
        """Keep an event, and show it to the live reader; what was begun is carried to its end even if the caller is cancelled.

        Args:
            message: A JSON-RPC message; the last one is the answer.
            last: Whether the stream ends with it.

        Raises:
            MCPError: It could neither be kept nor shown.
            Unwritable: It has no form in JSON; an answer always has.
        """
        data = encode_answer(message) if last else encode(message)
        # Whoever emits may be cancelled when the store has the event and we do not know it: the next would be taken for its repetition.
        await asyncio.shield(contained("event", partial(self._keep, message, data, last=last), expected=(Exception,)))

    async def fail(self, message: Any) -> None:
        """End the stream of a call that could not be answered; where the log has an answer already, a client comes back for that.

        Args:
            message: The answer in its place.

        Raises:
            MCPError: It could neither be kept nor shown.
        """
        if not self.answered:
            await self.emit(message, last=True)
        elif self.reader is not None:
            self.reader.end()

    async def forget(self) -> None:
        """Nobody can end this stream: whoever resumes it is told that it is gone.

        Raises:
            Fenced.
        """
        await self._lease.drop([self.name])
        if self.reader is not None:
            self.reader.end()

    async def _keep(self, message: Any, data: bytes, *, last: bool) -> None:
        kept = data if len(data) <= self._lease.most_event_bytes else self._in_words(message, len(data), last=last)
        try:
            async with self._lease.lock:
                offset = await self._append(Write("last" if last else "event", self.name, kept))
                self.begun, self.answered = True, last
                self._show(_frame(self.event_id(offset), data), last=last)
        except Fenced as fenced:
            if self.reader is None or self.reader.ended:
                raise outcome_unknown() from None
            if self.again and message.get("method") == _PROGRESS:
                self.reader.end()  # whoever owns the session now runs the call again: progress that is not kept would be fallen behind
                raise outcome_unknown() from None
            # What the log may have is shown under the id that it has there: a client that comes back with it is told apart by the log.
            shown = _frame(self.event_id(fenced.unsure), data) if fenced.unsure else sse_frame(data)
            self._show(shown, last=last)

    def _in_words(self, message: Any, size: int, *, last: bool) -> bytes:
        """What the log has instead of an answer that is too large for it; anything else that is too large is its sender's error.

        Raises:
            MCPError.
        """
        bound = f"{size} bytes, and a session's log takes at most {self._lease.most_event_bytes} (sessions.max_event_bytes)"
        if not last:
            raise MCPError(code=INTERNAL_ERROR, message=f"The message has {bound}")
        words = f"The answer had {bound}: only a client that was connected has received it"
        return encode({"jsonrpc": "2.0", "id": message["id"], "error": {"code": INTERNAL_ERROR, "message": words}})

    async def join(self, reader: Reader, after: int, *, primes: bool) -> bool:
        """Make this the live reader, after what it missed; False when that cannot be told without a gap.

        A client that missed nothing is given its position again where it can read one (`primes`): the TypeScript SDK's forget with which
        they came when the stream ends before its first event, and would come back without one.

        Raises:
            Fenced, StoreUnavailable.
        """
        async with self._lease.lock:
            tail = await self._lease.read(self.name, after)
            self._check()
            if not recoverable(Position(self.name, after), tail):
                return False
            missed = [_frame(self._written_id(entry.offset), entry.data) for entry in tail.entries]
            reader.replay(missed if missed or not primes else [self.priming(after)])
            if tail.open:
                self.attach(reader)
            else:
                reader.end(b"")
        return True

    async def read(self) -> tuple[Entry, ...]:
        """What the log has of the stream; while the store does not answer, this waits as long as the lease holds.

        Raises:
            Fenced.
        """
        while True:
            try:
                return (await self._lease.read(self.name, 0)).entries
            except StoreUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)

    def _check(self) -> None:
        """The session may have been given up while the store answered: what ends its streams then does not know of a reader to come."""
        if not self._lease.valid:
            raise Fenced

    def attach(self, reader: Reader) -> None:
        """Make this the live reader; an earlier one ends, since it is what the client lost."""
        if self.reader is not None:
            self.reader.replace()
        self.reader = reader

    def detach(self, reader: Reader) -> None:
        """This reader is gone."""
        if self.reader is reader:
            self.reader = None

    async def _append(self, *writes: Write) -> int:
        opening = () if self._registration is None else (Write("open", self.name, self._registration),)
        offset = await self._lease.append(*opening, *writes)
        if opening and self._primes:
            self.begun = True
            self._show(self.priming(0), last=False)
        self._registration = None
        return offset

    def _show(self, event: bytes, *, last: bool) -> None:
        if self.reader is not None:
            self.reader.put(event)
            if last:
                self.reader.end(b"")

    def _written_id(self, offset: int) -> bytes:
        """The id that an event had when it was first shown, maybe by an earlier owner."""
        lease = self._lease
        return (id_prefix(lease.tag, epoch_of(offset, lease.eras), self.name) + base36(offset)).encode()


def _frame(event_id: bytes, data: bytes) -> bytes:
    return b"id: " + event_id + b"\r\nevent: message\r\ndata: " + data + b"\r\n\r\n"
