"""Every client's try at every feature of a mode, and the table that comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.clients.driver import Driver, Refused
from tests.clients.features import Attempt, Feature, Wrong
from tests.clients.kinds import CACHE, Kind
from tests.clients.modes import Mode
from tests.clients.stage import Stage, staged
from tests.services import ServiceError

FEATURE_SECONDS: Final = 60.0


class Kept(StrEnum):
    """How a try ended; the values are what the table shows."""

    OK = "ok"
    FAILED = "FAILED"
    NOT_IN_REVISION = "-"
    CLIENT_HAS_NONE = "the client has none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cell of a table."""

    kind: Kept
    why: str = ""


async def columns(mode: Mode, clients: Sequence[Kind]) -> list[list[Verdict]]:
    """Have every client try each feature; gives a column for each."""
    log = CACHE / f"{mode.name}.log"
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(staged(mode.replicas, store=mode.store, settings=mode.settings, log=log))
        drivers = [await stack.enter_async_context(Driver(client.command, CACHE)) for client in clients]
        rows = [await _row(feature, stage, clients, drivers) for feature in mode.features]
    return [list(column) for column in zip(*rows, strict=True)]


async def _row(feature: Feature, stage: Stage, clients: Sequence[Kind], drivers: Sequence[Driver]) -> list[Verdict]:
    tried = [client for client in clients if _unneeded(feature, client) is None]
    together = asyncio.Barrier(max(1, len(tried) if feature.at_once else 1))
    tries = [
        _verdict(feature, client, Attempt(stage, driver, client.guise, together)) for client, driver in zip(clients, drivers, strict=True)
    ]
    return list(await asyncio.gather(*tries)) if feature.at_once else [await each for each in tries]


def _unneeded(feature: Feature, client: Kind) -> Verdict | None:
    """Why a client does not have to try a feature, if it does not."""
    if why := feature.absent.get(client.guise):
        return Verdict(Kept.NOT_IN_REVISION, why)
    if lack := client.lacks.get(feature.name):
        if lack.stands():
            return Verdict(Kept.CLIENT_HAS_NONE, lack.why)
        return Verdict(Kept.FAILED, f"the source of the client no longer shows that {lack.why}")
    return None


async def _verdict(feature: Feature, client: Kind, attempt: Attempt) -> Verdict:
    if unneeded := _unneeded(feature, client):
        return unneeded
    try:
        async with asyncio.timeout(FEATURE_SECONDS):
            await feature.prove(attempt)
    except asyncio.BrokenBarrierError:
        return Verdict(Kept.FAILED, "another client failed, and this one had to try together with it")
    except (Wrong, Refused, ServiceError) as error:
        await attempt.together.abort()
        return Verdict(Kept.FAILED, str(error))
    except TimeoutError:
        await attempt.together.abort()
        return Verdict(Kept.FAILED, f"not within {FEATURE_SECONDS:g} s")
    finally:
        await attempt.stage.mend()
        await attempt.leave()
    return Verdict(Kept.OK)


def table(mode: Mode, clients: Sequence[Kind], columns: Sequence[Sequence[Verdict]]) -> str:
    """Features by clients, and below it why a cell is not ok."""
    rows = [["", *(client.name for client in clients)]]
    rows += [[feature.name, *(column[number].kind for column in columns)] for number, feature in enumerate(mode.features)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(f"  {line}" for line in [*lines, *_reasons(mode, clients, columns)])


def _reasons(mode: Mode, clients: Sequence[Kind], columns: Sequence[Sequence[Verdict]]) -> list[str]:
    """Each reason once, with all that it is the reason for."""
    found: dict[str, list[str]] = {}
    for client, column in zip(clients, columns, strict=True):
        for feature, verdict in zip(mode.features, column, strict=True):
            if verdict.why:
                where = feature.name if verdict.kind is Kept.NOT_IN_REVISION else f"{client.name}: {feature.name}"
                places = found.setdefault(f"{verdict.kind}  {verdict.why}", [])
                places += [where] if where not in places else []
    return [f"{reason} ({'; '.join(places)})" for reason, places in found.items()]
