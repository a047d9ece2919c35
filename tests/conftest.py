"""What every suite shares: how property-based tests choose their inputs."""

from __future__ import annotations

from hypothesis import settings

# No deadline: tests assert no elapsed time. No database: a failure prints the blob that repeats it, and runs leave nothing behind.
settings.register_profile("moorage", deadline=None, database=None, print_blob=True, max_examples=100)
settings.load_profile("moorage")
