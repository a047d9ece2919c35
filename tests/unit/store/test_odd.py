"""What cannot be read in the store is skipped and counted, and nobody but the session that it belongs to is the worse for it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import redis

from moorage.security.keyring import SealingKeys
from moorage.store.bus import EVERYTHING, Notice
from moorage.store.oddities import Oddities
from moorage.store.seals import PURPOSE, Seals
from moorage.store.sessions import Absent, Fenced, Held, Lease, Owned
from tests.unit.store.access import RING, WITHIN, Place, append, event, held, opens
from tests.unit.store.members import Join
from tests.unit.store.test_bus import TOOLS, hears, listening

pytestmark = pytest.mark.anyio

GOOD: dict[Any, Any] = {"v": "1", "k": "tools", "u": ""}


def key_of(place: Place, prefix: str, kind: str) -> tuple[redis.Redis, str]:
    [key] = [key for key in place.keys(prefix) if f":{kind}:" in key]
    return place.server_of(key), key


# The bus


@pytest.mark.parametrize(
    "fields",
    [
        {"k": "tools"},
        {"u": "ship://1"},
        {"other": "field"},
        {"k": b"\xff", "u": ""},
        {"k": "resource", "u": b"ship://\xff"},
        {**GOOD, "v": "2"},
        {**GOOD, "v": "9" * 400},
        {**GOOD, "v": "-1"},
        {**GOOD, "v": ""},
    ],
)
async def test_a_notice_that_cannot_be_read_is_skipped_and_the_next_is_heard(join: Join, place: Place, prefix: str, fields: dict[Any, Any]):
    members = [await join() for _ in range(3)]
    async with listening(*members):
        place.servers[0].xadd(f"{prefix}:bus", fields)
        await members[0].bus.publish(TOOLS)
        for member in members:
            await hears(member, TOOLS)
            assert member.store.oddities.counts["notice"] == 1


async def test_what_the_release_before_published_is_heard(join: Join, place: Place, prefix: str):
    a = await join()
    async with listening(a):
        place.servers[0].xadd(f"{prefix}:bus", {"k": "resource", "u": "ship://1"})
        await hears(a, Notice("resource", "ship://1"))


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
async def test_a_bus_that_is_no_stream_is_begun_anew(join: Join, place: Place, prefix: str, kind: str):
    a, b = await join(), await join()
    async with listening(a, b):
        server = place.servers[0]
        server.delete(f"{prefix}:bus")
        {
            "string": lambda: server.set(f"{prefix}:bus", "x", px=60_000),
            "list": lambda: server.rpush(f"{prefix}:bus", "x"),
            "hash": lambda: server.hset(f"{prefix}:bus", "x", "y"),
        }[kind]()
        server.pexpire(f"{prefix}:bus", 60_000)
        await a.until(lambda: EVERYTHING in a.heard)
        await b.until(lambda: EVERYTHING in b.heard)
        a.heard.clear()
        b.heard.clear()
        await a.bus.publish(TOOLS)
        await b.until(lambda: TOOLS in b.heard)


async def test_an_entry_with_the_last_possible_number_does_not_end_the_bus(join: Join, place: Place, prefix: str):
    a, b = await join(timeout_seconds=0.5), await join(timeout_seconds=0.5)
    async with listening(a, b):
        place.servers[0].xadd(f"{prefix}:bus", GOOD, id="18446744073709551615-18446744073709551615")
        await b.until(lambda: TOOLS in b.heard)
        b.heard.clear()
        await a.bus.publish(Notice("prompts"))
        await b.until(lambda: EVERYTHING in b.heard or Notice("prompts") in b.heard)


@pytest.mark.parametrize("position", ["x", "5", "-", "1-0-0", "1-0\n", "٣-٣"])
async def test_whoever_had_no_position_that_can_be_read_looks_at_everything(join: Join, position: str):
    a = await join()
    async with listening(a):
        assert await a.bus.since(position) == [EVERYTHING]


# Sessions


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("head", "x"),
        ("head", ""),
        ("head", "1e300"),
        ("head", "-1"),
        ("epoch", "x"),
        ("epoch", "9" * 300),
        ("eras", "x"),
        ("eras", ":;:"),
        ("eras", b"\xff"),
        ("v", "x"),
        ("v", "1"),
        ("owner", b"\xff\xfe"),
        ("head", None),
        ("epoch", None),
        ("owner", None),
        ("v", None),
    ],
)
async def test_a_session_with_a_field_that_cannot_be_read_has_ended(join: Join, place: Place, prefix: str, field: str, value: Any):
    a, b = await join(), await join()
    lease, other = await a.create("tag"), await a.create("other")
    server, key = next((place.server_of(key), key) for key in place.keys(prefix) if key.endswith("{tag}"))
    if value is None:
        server.hdel(key, field)
    else:
        server.hset(key, field, value)
    claim = await b.sessions.claim("tag", a.dead(lease))
    assert isinstance(claim, Absent)
    assert b.store.oddities.counts["session"] == 1
    with pytest.raises(Fenced):
        await append(lease, event("g"))
    assert await append(other, event("g")) == 1


@pytest.mark.parametrize("field", ["head", "bytes", "kept"])
async def test_an_owner_whose_sessions_fields_are_overwritten_gives_it_up(join: Join, place: Place, prefix: str, field: str):
    a = await join()
    lease = await a.create("tag")
    server, key = key_of(place, prefix, "s")
    server.hset(key, field, "x")
    with anyio.fail_after(WITHIN), pytest.raises(Fenced):
        await append(lease, event("g"))
    assert not lease.valid
    assert not [key for key in place.keys(prefix) if ":s:" in key or ":l:" in key], "it has ended for everybody"


async def _keep(lease: Lease) -> object:
    return await lease.keep()


async def _watch(lease: Lease) -> object:
    return await lease.watch({"ship://1": True})


async def _append(lease: Lease) -> object:
    return await append(lease, event("g"))


async def _read(lease: Lease) -> object:
    return await lease.read("g", 0)


async def _finish(lease: Lease) -> object:
    return await lease.finish()


@pytest.mark.parametrize("what", [_keep, _watch, _append, _read, _finish])
async def test_keys_of_another_type_end_their_session_alone(join: Join, place: Place, prefix: str, what: Any):
    a = await join()
    lease = await a.create("tag")
    await append(lease, event("g"))
    server, key = key_of(place, prefix, "s")
    server.set(key, "x", px=60_000)
    with anyio.fail_after(WITHIN), pytest.raises(Fenced):
        await what(lease)
    assert not lease.valid


async def test_a_session_of_a_later_release_is_left_alone(join: Join, place: Place, prefix: str):
    a, b = await join(), await join()
    await (await a.create("tag")).release()
    server, key = key_of(place, prefix, "s")
    server.hset(key, "v", "3")
    assert isinstance(await b.sessions.claim("tag"), Absent)
    assert b.store.oddities.counts["session"] == 1
    assert server.exists(key)


async def test_a_log_of_another_type_ends_its_session(join: Join, place: Place, prefix: str):
    lease = await (await join()).create("tag")
    await append(lease, event("g"))
    server, key = key_of(place, prefix, "l")
    server.set(key, "x", px=60_000)
    with anyio.fail_after(WITHIN), pytest.raises(Fenced):
        await lease.read("g", 0)


async def test_entries_of_a_log_that_are_no_events_are_passed_over_and_go_first(join: Join, place: Place, prefix: str):
    a = await join(log_events=3)
    lease = await a.create("tag")
    await append(lease, opens("x"), event("x", b"1"))
    server, key = key_of(place, prefix, "l")
    odd = {"1-7": {"a": "b"}, "1-8": {"s": "x", "k": "event", "m": "y", "d": "z"}, "1-9": {"s": "x", "k": "?", "m": "1", "d": "2"}}
    for number, fields in odd.items():
        server.xadd(key, fields, id=number)  # type: ignore[arg-type]
    tail = await lease.read("x", 0)
    assert [entry.data for entry in tail.entries] == [b"1"]
    assert a.store.oddities.counts["event"] == 1
    for number in range(5):
        await append(lease, event("x", b"%d" % number))
    assert [entry.data for entry in (await lease.read("x", 0)).entries] == [b"2", b"3", b"4"]


async def test_an_event_that_would_begin_another_on_its_readers_stream_is_passed_over(join: Join, place: Place, prefix: str):
    lease = await (await join()).create("tag")
    await append(lease, opens("x"), event("x", b"1"), event("x", b"{}\n\nevent: message\ndata: {}"))
    assert [entry.offset for entry in (await lease.read("x", 0)).entries] == [1]


async def test_a_session_of_ten_thousand_values_can_be_claimed(join: Join, place: Place, prefix: str):
    a, b = await join(), await join()
    lease = await a.create("tag")
    server, key = key_of(place, prefix, "s")
    server.hset(key, mapping={f"t:{number}": "0" for number in range(10_000)})
    assert isinstance(await b.sessions.claim("tag", a.dead(lease)), Owned)


# Principals


async def test_a_principals_set_of_another_type_is_begun_anew(join: Join, place: Place, prefix: str):
    a = await join()
    assert await a.sessions.admit("tag", "ann")
    server, key = key_of(place, prefix, "p")
    server.set(key, "x", px=60_000)
    assert await a.sessions.admit("tag", "ann")


async def test_counts_that_would_stand_for_ever_do_not_keep_a_principal_out(join: Join, place: Place, prefix: str):
    a = await join(max_sessions_per_principal=2)
    assert await a.sessions.admit("tag", "ann")
    server, key = key_of(place, prefix, "p")
    server.zadd(key, {"x": float("inf"), "y": 1e300})
    assert await a.sessions.admit("tag2", "ann")


# What is sealed


async def test_an_owner_that_nobody_of_us_has_sealed_is_none(join: Join, place: Place, prefix: str):
    a, b = await join(), await join()
    await a.create("tag")
    server, key = key_of(place, prefix, "s")
    server.hset(key, "entry", "127.0.0.1:1/evil?")
    assert isinstance(await b.sessions.claim("tag"), Owned)
    assert b.store.oddities.counts["owner"] == 1


async def test_the_entry_of_one_owner_is_no_other_owners(join: Join, place: Place, prefix: str):
    a, b, c = await join(), await join(), await join()
    await a.create("tag")
    server, key = key_of(place, prefix, "s")
    server.hset(key, "entry", b.owner.entry)
    assert isinstance(await c.sessions.claim("tag"), Owned)


async def test_a_key_that_says_that_an_owner_lives_is_believed_only_from_us(join: Join, place: Place):
    a, b = await join(), await join()
    key = a.store.key("owner", "somebody")
    place.servers[0].set(key, "127.0.0.1:1", px=60_000)
    assert not await b.owner.is_alive("somebody")
    place.servers[0].set(key, a.owner.entry, px=60_000)
    assert not await b.owner.is_alive("somebody")
    place.servers[0].delete(key)
    place.servers[0].rpush(key, "x")
    place.servers[0].pexpire(key, 60_000)
    assert not await b.owner.is_alive("somebody")
    assert await b.owner.is_alive(a.owner.id)


async def test_a_registration_that_was_not_sealed_for_its_stream_is_forgotten(join: Join, place: Place, prefix: str):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await append(lease, opens("x-1", b"mine"), opens("x-2", b"another"), event("x-1"))
    server, key = key_of(place, prefix, "s")
    forged = '{"v":1,"id":1,"method":"tools/call","params":{"name":"launch"},"again":true}'
    server.hset(key, mapping={"c:x-3": forged, "c:x-1": str(server.hget(key, "c:x-2"))})
    taken = await b.take("tag", a.dead(lease))
    assert dict(taken.calls) == {"x-2": b"another"}
    assert b.store.oddities.counts["registration"] == 2
    assert not (await taken.lease.read("x-1", 0)).open


async def test_a_subscription_of_another_session_is_none(join: Join, place: Place, prefix: str):
    a, b = await join(), await join()
    one, other = await a.create("one"), await a.create("other")
    assert await one.watch({"ship://secret": True})
    [mine] = [key for key in place.keys(prefix) if key.endswith("{one}")]
    [its] = [key for key in place.keys(prefix) if key.endswith("{other}")]
    server = place.server_of(mine)
    server.hset(its, mapping={name: value for name, value in server.hgetall(mine).items() if str(name).startswith("w:")})  # type: ignore[arg-type]
    assert (await b.take("other", a.dead(other))).watched == frozenset()


async def test_whoever_has_another_ring_believes_nothing_of_ours(join: Join):
    a, b = await join(), await join(ring=SealingKeys.ephemeral())
    await a.create("tag")
    assert not await b.owner.is_alive(a.owner.id)


async def test_an_owner_is_sealed_once_for_all_that_it_does(join: Join):
    a = await join()
    first = a.owner.entry
    await a.create("tag")
    assert await a.owner._beat()
    assert a.owner.entry is first
    a.owner._lapse()
    assert a.owner.entry is not first


async def test_whoever_holds_a_session_is_told_with_its_address(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    assert held(await b.sessions.claim("tag")) == Held(a.owner.id, lease.epoch, a.owner.address)


@pytest.mark.parametrize("text", ["10.0.0.1:9191", "pod-1.moorage.svc:1", "[fd00::1]:65535", "localhost:9191"])
def test_an_address_is_a_host_and_a_port(text: str):
    seals = Seals(RING.sealer(PURPOSE))
    assert seals.address("me", seals.entry("me", text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "host:1/x",
        "a@host:1",
        "host:1?x",
        "host:1#x",
        "host:٣",
        "ho st:1",
        "host:1\n",
        "http://host:1",
        "-h:1",
        "[::1:1",
    ],
)
def test_nothing_else_is_an_address_even_if_we_have_sealed_it(text: str):
    seals = Seals(RING.sealer(PURPOSE))
    assert seals.address("me", seals.entry("me", text)) is None


def test_what_is_skipped_is_told_once_a_minute_and_counted_always(monkeypatch: pytest.MonkeyPatch):
    now, lines = 0.0, list[tuple[str, int]]()

    class Log:
        def warning(self, _event: str, *, what: str, skipped: int, **_: object) -> None:
            lines.append((what, skipped))

    monkeypatch.setattr("moorage.store.oddities.log", Log())
    it = Oddities(lambda: now)
    for _ in range(5):
        it.skip("notice", "a reason")
    it.skip("session", "a reason")
    now = 61.0
    it.skip("notice", "a reason")
    assert lines == [("notice", 1), ("session", 1), ("notice", 6)]
    assert (it.counts["notice"], it.counts["session"]) == (6, 1)


async def test_room_for_a_session_is_asked_before_it_is_claimed(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    assert held(await b.sessions.claim("tag", room=False)).owner == a.owner.id, "who holds it is told to whoever passes a request on"
    refused = await b.sessions.claim("tag", a.dead(lease), room=False)
    assert type(refused).__name__ == "Crowded"
    assert await append(lease, event("g")) == 1, "nothing was claimed"
