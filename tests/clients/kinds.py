"""The clients, the revisions that each is driven in, and what a client itself cannot do, with where its source shows that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests import npm
from tests.clients.features import MODERN

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
CACHE: Final = ROOT / ".cache" / "clients"
PYTHON: Final = ROOT / ".venv-clients" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a client cannot do, whatever a server does.

    Attributes:
        why: In words.
        source: The files that show it.
        shows: A pattern in them, found so many `times`; when that changes, the client may have learnt it.
    """

    why: str
    source: tuple[Path, ...]
    shows: str
    times: int

    def stands(self) -> bool:
        """Whether the installed source still shows it."""
        return bool(self.source) and sum(len(re.findall(self.shows, path.read_text())) for path in self.source) == self.times


@dataclass(frozen=True, slots=True)
class Kind:
    """A client, in the guise of one revision.

    Attributes:
        lacks: By feature.
    """

    name: str
    command: tuple[str | Path, ...]
    guise: str
    lacks: Mapping[str, Lack] = field(default_factory=dict[str, Lack])


def kinds() -> tuple[Kind, ...]:
    """All of them; the clients have to be installed."""
    python = next((PYTHON.parents[1] / "lib").glob("python3*")) / "site-packages" / "mcp"
    v2 = tuple((CACHE / "node_modules" / "@modelcontextprotocol" / "client" / "dist").glob("*.mjs"))
    no_cancelling = Lack(
        "ClientSession sends no notifications/cancelled",
        (python / "client" / "session.py", python / "client" / "streamable_http.py"),
        "Cancelled|cancelled",
        times=0,
    )
    forgets_position = Lack(
        "a connection begins without a position, and only an event gives one; clients of this revision can be sent none without data",
        v2,
        r"let lastEventId;\s+let hasPrimingEvent = false;",
        times=1,
    )
    waits_for_time_out = Lack(
        "a call whose stream ended is not told; only subscriptions/listen asks to be (onRequestStreamEnd)",
        v2,
        r"onRequestStreamEnd: \(\) =>",
        times=1,
    )
    typescript = (npm.NODE, CACHE / "v2.mjs")
    return (
        Kind("python-1.30", (PYTHON, HERE / "drivers" / "python.py"), "2025-11-25", {"cancellation": no_cancelling}),
        Kind("typescript-1.32", (npm.NODE, CACHE / "v1.mjs"), "2025-11-25"),
        Kind(
            "typescript-2.4 2025-06-18",
            typescript,
            "2025-06-18",
            {"two SIGKILLs, result resumed": forgets_position, "streams that end for their age": forgets_position},
        ),
        Kind("typescript-2.4 2025-11-25", typescript, "2025-11-25"),
        Kind("typescript-2.4 2026-07-28", typescript, MODERN, {"SIGKILL, told at once": waits_for_time_out}),
    )
