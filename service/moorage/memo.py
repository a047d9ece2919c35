"""What is remembered because working it out costs more than looking it up, and whose keys a client chooses.

Promises bounds that no client can pass, in entries and in bytes, and that something new is always learned: when there is no room, the
oldest goes, by when it was put in. Who floods a memo with new keys therefore costs the others one slow answer for each memo-full of its
own, and when it stops they are remembered again. The least recently used would stay a little longer, but every hit would have to be
written down. For what nothing may push out, this is the wrong kind: say so where such a thing is kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

ENTRY_BYTES: Final = 256
"""What an entry costs beside its key and its answer: its places in two dictionaries, its size as a number, and the heads of objects."""

LARGEST_PART: Final = 8
"""An entry above this part of the bytes is not kept, lest a few push out all the others."""


class BoundedMemo(Generic[Key, Answer]):
    """Answers by key.

    May be used from any thread. A `put` that meets another one, of another thread or of the code that a signal or the garbage collector
    interrupted, remembers nothing, so that it never waits; `discard` and `clear` wait for one, and are not for such code.

    Args:
        entries: How many, at most.
        max_bytes: What they may take together, as `put` is told, with `ENTRY_BYTES` for each.

    Attributes:
        get: The answer of a key, or None when it has to be worked out. It is the dictionary's own method: a hit costs no more than that.
    """

    __slots__ = ("_answers", "_bytes", "_entries", "_largest", "_lock", "_max_bytes", "_sizes", "get")

    def __init__(self, *, entries: int, max_bytes: int) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._largest = max_bytes // LARGEST_PART
        self._answers: dict[Key, Answer] = {}
        self._sizes: OrderedDict[Key, int] = OrderedDict()  # a dictionary would look for its oldest through all those that are gone
        self._bytes = 0
        self._lock = Lock()
        self.get: Callable[[Key], Answer | None] = self._answers.get

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def held_bytes(self) -> int:
        """What the entries take."""
        return self._bytes

    def put(self, key: Key, answer: Answer, size: int) -> Answer:
        """Remember an answer in place of what the key had, as the newest, and return it.

        Args:
            key: What it will be asked for by.
            answer: Not None.
            size: Bytes of key and answer together, rather too many than too few. What is too large is not kept.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._drop(key)
                if size + ENTRY_BYTES <= self._largest:
                    self._keep(key, answer, size + ENTRY_BYTES)
            finally:
                self._lock.release()
        return answer

    def discard(self, key: Key) -> None:
        """Forget a key, if it is there."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._answers.clear()
            self._sizes.clear()
            self._bytes = 0

    def _keep(self, key: Key, answer: Answer, size: int) -> None:
        while self._sizes and (len(self._sizes) >= self._entries or self._bytes + size > self._max_bytes):
            self._drop(next(iter(self._sizes)))
        self._answers[key] = answer
        self._sizes[key] = size
        self._bytes += size

    def _drop(self, key: Key) -> None:
        self._bytes -= self._sizes.pop(key, 0)
        self._answers.pop(key, None)
