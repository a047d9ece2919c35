"""Gates: what holds a tool in the middle of its work until a test lets it go on, in whichever process it runs by then.

A gate is a file in a folder that every replica is told of; it is shut as long as the file is missing.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Final

FOLDER: Final = "CLIENTS_GATES"
"""Environment variable of the replicas: where the gates are."""

_SHUT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.01
_GIVEN_UP: Final = ".given-up"


def shut() -> str:
    """Give the name of a gate that is shut."""
    return uuid.uuid4().hex


def open_gate(folder: Path, gate: str) -> None:
    """Let pass whoever waits there, and whoever comes later."""
    (folder / gate).touch()


def given_up(folder: Path, gate: str) -> bool:
    """Whether somebody who waited there was interrupted."""
    return (folder / f"{gate}{_GIVEN_UP}").exists()


async def passed(gate: str) -> None:
    """Wait until a gate is open; whoever is interrupted leaves word.

    Raises:
        TimeoutError: It stayed shut.
    """
    path = Path(os.environ[FOLDER]) / gate
    try:
        async with asyncio.timeout(_SHUT_SECONDS):
            while not path.exists():
                await asyncio.sleep(_LOOK_SECONDS)
    except asyncio.CancelledError:
        path.with_suffix(_GIVEN_UP).touch()
        raise
