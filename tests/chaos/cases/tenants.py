"""Two tenants whose sessions look the same from outside."""

from __future__ import annotations

import asyncio

from tests.chaos.client import Client
from tests.chaos.load import Load
from tests.chaos.run import TENANTS, Case, Run
from tests.chaos.wire import request


async def tenants(run: Run) -> None:
    """Calls with equal ids, resumed at once; then ids of others."""
    async with run.listening(2, tenant=TENANTS[0]) as ours, run.listening(2, tenant=TENANTS[1]) as theirs:
        async with Load([*ours, *theirs], pause_seconds=0.01, cuts=0.7).running():
            await asyncio.sleep(run.scaled(short=4, full=30))
        for client in ours:
            await client.call("notify", 2)
        await run.arrived()
        await _steal(run, ours[0], ours[1], theirs[0])
    await run.finish()


async def _steal(run: Run, victim: Client, neighbour: Client, stranger: Client) -> None:
    """Positions and sessions of others are refused; nothing of them is shown."""
    assert victim.session.get is not None
    position = victim.session.get.position or ""
    attempts = {
        "a position of another session of the same tenant": {**neighbour.session.headers, "last-event-id": position},
        "a position of another tenant": {**stranger.session.headers, "last-event-id": position},
        "a session of another tenant": {**victim.session.headers, "authorization": stranger.session.headers["authorization"]},
        "a session of another tenant, with its position": {
            **victim.session.headers,
            "authorization": stranger.session.headers["authorization"],
            "last-event-id": position,
        },
    }
    for address in run.stage.addresses:
        for what, headers in attempts.items():
            exchange = await request(address, "GET", headers)
            exchange.cut()
            run.require(exchange.status in (400, 404), f"{what} was answered with {exchange.status}")
    run.figure("thefts refused", len(attempts) * len(run.stage.addresses))


CASES = (
    Case("tenants", "two tenants with equal JSON-RPC ids; an event id of another session: nothing crosses", tenants, seconds=(40, 120)),
)
