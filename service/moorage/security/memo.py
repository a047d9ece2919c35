"""A memory for answers that cost more than a dictionary lookup.

Promises a bound that no client can pass: a full table starts over, which costs each regular visitor one slow answer. Only acceptances
belong in it, so that a stream of refusals cannot push out what is in use.
"""

from typing import Final, TypeVar

Key = TypeVar("Key")
Answer = TypeVar("Answer")

LIMIT: Final = 1024
"""Entries of a table; far more than the distinct hosts, origins and keys that one process meets."""

MAX_VALUE_BYTES: Final = 512
"""Length of a header value that is considered at all; names have at most 253 characters, keys of ours fewer."""


def remember(table: dict[Key, Answer], key: Key, value: Answer) -> Answer:
    """Put an answer into a table and return it."""
    if len(table) >= LIMIT:
        table.clear()
    table[key] = value
    return value
