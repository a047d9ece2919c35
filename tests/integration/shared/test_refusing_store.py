"""A store that answers and does not let its user do all that sessions need counts as out, in words, and leaves no call without an end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

import moorage.store
from tests.integration.shared.conftest import Replica, Start, events, holds, ping, until
from tests.logged import logged
from tests.services import Redis

pytestmark = pytest.mark.anyio

FOLDER = Path(moorage.store.__file__).parent
SCRIPTS = {path.name: path.read_text() for path in FOLDER.glob("scripts/*.lua")}
TRIED = frozenset(re.findall(r"try\('([A-Z]+)'", SCRIPTS["try.lua"]))
FAST = {"lease_seconds": 2}


class User:
    """A user of the store, whose permissions the test takes away and gives back."""

    def __init__(self, redis: Redis) -> None:
        self.name = uuid4().hex[:8]
        self.prefix = uuid4().hex[:8]
        self._client = redis.client()
        self.url = f"redis://{self.name}:secret@127.0.0.1:{redis.port}/0"
        self.may_all()

    def may(self, *rules: str) -> None:
        self._client.execute_command("ACL", "SETUSER", self.name, *rules)

    def may_all(self) -> None:
        self.may("reset", "on", ">secret", "~*", "&*", "+@all")

    def close(self) -> None:
        with suppress(Exception):
            self._client.execute_command("ACL", "DELUSER", self.name)
        self._client.close()


@pytest.fixture
def user(redis: Redis) -> Iterator[User]:
    it = User(redis)
    yield it
    it.close()


async def begin(start: Start, user: User) -> Replica:
    replica = await start(store={"url": user.url, "prefix": user.prefix}, sessions=FAST)
    await holds(lambda: trouble(replica) is None)
    return replica


def trouble(replica: Replica) -> str | None:
    replication: Any = replica.service.replication
    return replication.trouble()


def used() -> set[str]:
    """Every command that a script or a module of the store gives it."""
    found = {command for text in SCRIPTS.values() for command in re.findall(r"call\(['\"]([A-Z]+)['\"]", text)}
    for module in FOLDER.glob("*.py"):
        found |= set(re.findall(r"(?:command\(|words = \()\"([A-Z]+)\"", module.read_text()))
    return found


def test_every_command_that_is_used_is_tried():
    assert {"XREAD", "ZREM", "XADD"} <= used(), "the search finds them"
    assert used() == TRIED


@pytest.mark.parametrize("command", sorted(TRIED))
async def test_a_user_who_lacks_a_command_is_named_at_the_start_and_no_session_begins(start: Start, user: User, command: str):
    user.may(f"-{command.lower()}")
    replica = await start(store={"url": user.url, "prefix": user.prefix}, sessions=FAST)
    assert f"{command}: " in (trouble(replica) or "")
    assert (await opening(replica)) == (503, "store_unavailable")
    user.may_all()
    await holds(lambda: trouble(replica) is None)
    assert await ping(replica, await replica.begin()) == 200


@pytest.mark.parametrize("kind", ["bus", "rings", "2:s:*", "2:l:*", "2:p:*", "2:owner:*"])
async def test_a_user_who_lacks_a_kind_of_key_is_out_in_words(start: Start, user: User, kind: str):
    others = {"bus", "rings", "2:s:*", "2:l:*", "2:p:*", "2:owner:*"} - {kind}
    user.may("resetkeys", *(f"~{user.prefix}:{other}" for other in others))
    replica = await start(store={"url": user.url, "prefix": user.prefix}, sessions=FAST)
    assert "refuses" in (trouble(replica) or "")
    user.may_all()
    await holds(lambda: trouble(replica) is None)


@pytest.mark.parametrize("rule", ["-xadd", "-hset", "-evalsha", "-pexpire", "resetkeys"])
async def test_a_call_in_a_store_that_begins_to_refuse_ends_in_words_and_its_session_lives_on(start: Start, user: User, rule: str):
    replica = await begin(start, user)
    session = await replica.begin()
    call = replica.call(session, "again")
    await replica.arrived.wait()
    await until(call, lambda it: b"progress" in it.body)
    with logged() as lines:
        user.may(rule)
        replica.release.set()
        await call.finished()
        await holds(lambda: trouble(replica) is not None)
        await holds(lambda: {"store.refused", "store.out"} <= {line["event"] for line in lines})
    refused = replica.post(session, id=3, method="ping")
    await refused.finished()
    assert orjson.loads(refused.body)["error"]["data"]["reason"] == "store_unavailable"

    user.may_all()
    await holds(lambda: trouble(replica) is None)
    resumed = replica.listen(session, events(call)[-1][0])
    await until(resumed, lambda it: b'"result"' in it.body or b"-32010" in it.body)  # a step that was refused halfway may leave a gap
    assert await ping(replica, session) == 200, "the session lives on"


async def test_a_bus_that_may_not_be_read_is_no_silence(start: Start, user: User):
    replica = await begin(start, user)
    user.may("-xread")
    await holds(lambda: trouble(replica) is not None)
    user.may_all()
    await holds(lambda: trouble(replica) is None)


async def opening(replica: Replica) -> tuple[int | None, str]:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    exchange = replica.open("POST", {}, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    await exchange.finished()
    return exchange.status, orjson.loads(exchange.body)["error"]["data"]["reason"]
