"""How much of a header is considered, and how many accepted ones are remembered.

Only acceptances are: a stream of refusals pushes out nothing that is in use.
"""

from typing import Final

MAX_VALUE_BYTES: Final = 512
"""Length of a header value that is considered at all; names have at most 253 characters, keys of ours fewer."""

REMEMBERED: Final = 1024
"""Values of one header; far more than the distinct hosts, origins and keys that one process meets."""

REMEMBERED_BYTES: Final = 512 * 1024
"""Of the same: so many of the usual length."""
