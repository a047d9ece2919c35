"""Clients that come back before their cut was noticed, and JSON-RPC ids that are used again."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.chaos.client import Client, Cut, How
from tests.chaos.history import Lost
from tests.chaos.run import Case, Run

_CUTS_A_CALL = 4
_SECOND = 2
_LATEST_RETURN = 0.02
_HOWS: tuple[How, How] = ("close", "leave")


def _cut(client: Client) -> Cut:
    """At any moment of a stream, back 0 to 20 ms later."""
    chance = client.random
    delay, how = chance.uniform(0, _LATEST_RETURN), chance.choice(_HOWS)
    if chance.random() < 0.5:
        return Cut(delay, how, after_integers=chance.randint(1, 6))
    return Cut(delay, how, after_seconds=chance.uniform(0.02, 0.1))


async def race(run: Run) -> None:
    """Cut streams of calls and GET streams in turn."""
    wanted = run.scaled(short=120, full=1000)
    async with run.listening(4) as clients:
        await asyncio.gather(*(_cut_again_and_again(run, client, wanted) for client in clients))
    await run.finish()
    cuts = _cuts(run)
    run.require(cuts >= wanted, f"only {cuts} of {wanted} cuts were made")
    run.figure("cuts", cuts)


def _cuts(run: Run) -> int:
    return sum(lost.how in _HOWS for lost in run.history.of(Lost))


async def _cut_again_and_again(run: Run, client: Client, wanted: int) -> None:
    while _cuts(run) < wanted and not client.session.gone.is_set():
        tool = client.random.choice(("append", "append_once", "notify"))
        if tool == "notify":
            await asyncio.gather(client.call(tool, 16, pause_seconds=0.01), _cut_get(client))
        else:
            await client.call(tool, 16, pause_seconds=0.01, cuts=[_cut(client) for _ in range(_CUTS_A_CALL)])


async def _cut_get(client: Client) -> None:
    for _ in range(_CUTS_A_CALL):
        await asyncio.sleep(client.random.uniform(0, 0.06))
        if client.session.get is not None:
            client.session.get.interrupt(_cut(client))


async def same_id(run: Run) -> None:
    """Use the id of a call that is in flight, of one that was cut, and of one that is over."""
    rounds = run.scaled(short=15, full=150)
    async with run.listening(2) as clients:
        verdicts = [verdict for part in await asyncio.gather(*(_reuse(client, rounds) for client in clients)) for verdict in part]
    await run.finish()
    for place, which in enumerate(("in flight", "cut", "in flight or cut, used again", "over, used again")):
        seen = Counter(each[place] for each in verdicts)
        run.figure(f"id of a call that is {which}", ", ".join(f"{count} {name}" for name, count in sorted(seen.items())))
        run.require(place == _SECOND or set(seen) == {"result"}, f"calls whose id is that of one {which} ended with {dict(seen)}")


async def _reuse(client: Client, rounds: int) -> list[tuple[str, str, str, str]]:
    """What became, in each round, of a call in flight, of one that was cut, of one more beside them, and of one afterwards."""
    verdicts: list[tuple[str, str, str, str]] = []
    for number in range(rounds):
        in_flight, cut = next(client.session.ids), next(client.session.ids)
        plan = Cut(client.random.uniform(0, 0.15), client.random.choice(_HOWS), after_integers=3)
        one = asyncio.create_task(client.call("append", 10, pause_seconds=0.02, request_id=in_flight))
        other = asyncio.create_task(client.call("append_once", 10, pause_seconds=0.02, request_id=cut, cuts=[plan]))
        await asyncio.sleep(client.random.uniform(0.05, 0.15))
        second = await client.call("append", 2, request_id=cut if number % 2 else in_flight)
        first, again = await one, await other
        after = await client.call("append_once", 2, request_id=cut)
        verdicts.append((first.verdict, again.verdict, second.verdict, after.verdict))
    return verdicts


CASES = (
    Case("resume-race", "a resume 0-20 ms after a cut, at any moment: nothing lost, nothing silent", race, seconds=(40, 300)),
    Case("same-id", "a JSON-RPC id used again, in flight and after a cut: nothing lost, nothing silent", same_id, seconds=(40, 300)),
)
