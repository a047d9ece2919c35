"""How much memory the processes of a replica hold."""

from __future__ import annotations

import re
from pathlib import Path

from tests.services.fleet import Replica


def resident_bytes(replica: Replica) -> int:
    """The resident memory of the workers."""
    return sum(_resident(pid) for pid in replica.workers())


def _resident(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
