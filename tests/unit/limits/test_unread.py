"""Whatever connections fall behind, catch up, are cut or lost: the account is what waits, and within its bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Those
from hypothesis.stateful import RuleBasedStateMachine, consumes, initialize, invariant, rule

from moorage.limits.unread import UnreadBytes

SIZES = st.integers(1, 1000)


class Connection:
    """What waits for one client."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reason: str | None = None

    def unread_bytes(self) -> int:
        return self.size

    def cut(self, reason: str) -> None:
        self.reason = reason


class Comings(RuleBasedStateMachine):
    """Connections in the order in which they fell behind."""

    behind = Those("behind")

    @initialize(most=st.integers(0, 3000))
    def begin(self, most: int) -> None:
        self.most = most
        self.account = UnreadBytes()
        self.model: list[Connection] = []
        self.newest: Connection | None = None

    @rule(target=behind, size=SIZES)
    def fall_behind(self, size: int) -> Connection:
        connection = Connection(size)
        self.account.note(connection)
        self.account.make_room(self.most)
        self.model.append(connection)
        kept = [one for one in self.model if one.reason is None]
        assert connection in kept
        assert self.account.bytes <= max(self.most, size)
        cut = self.model[: len(self.model) - len(kept)]
        assert {one.reason for one in cut} <= {"unread_limit"}
        assert all(one.reason is None for one in kept)  # the earliest went, and no other
        assert not cut or sum(one.size for one in [cut[-1], *kept]) > self.most  # and no more of them than had to
        self.model = kept
        return connection

    @rule(connection=behind, size=SIZES)
    def read(self, connection: Connection, size: int) -> None:
        connection.size = min(connection.size, size)

    @rule(connection=behind)
    def take_enough(self, connection: Connection) -> None:
        if connection in self.model:
            self.account.note(connection)

    @rule(connection=consumes(behind))
    def catch_up_or_leave(self, connection: Connection) -> None:
        self.account.forget(connection)
        if connection in self.model:
            self.model.remove(connection)

    @invariant()
    def no_less_is_counted_than_waits(self) -> None:
        if hasattr(self, "model"):
            assert self.account.bytes >= sum(connection.size for connection in self.model) >= 0

    def teardown(self) -> None:
        for connection in getattr(self, "model", []):
            self.account.forget(connection)
            self.account.forget(connection)
        assert not hasattr(self, "model") or self.account.bytes == 0


TestComings = Comings.TestCase


@given(sizes=st.lists(SIZES, min_size=1, max_size=20))
def test_without_room_for_anything_the_newest_alone_is_left(sizes: list[int]) -> None:
    account, connections = UnreadBytes(), [Connection(size) for size in sizes]
    for connection in connections:
        account.note(connection)
        account.make_room(0)
    assert [connection.reason for connection in connections] == ["unread_limit"] * (len(sizes) - 1) + [None]
    assert account.bytes == sizes[-1]
