"""A session id carries its session to every process of the ring, and anything else carries nothing."""

import base64
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moorage.security.keyring import Sealer, SealingKeys, generate
from moorage.sessions.identity import MAX_ID_CHARACTERS, MAX_RECORD_BYTES, PURPOSE, ClientTooLarge, SessionIds, SessionRecord

CLIENT: dict[str, Any] = {
    "clientInfo": {"name": "claude-code", "title": "Ünïcode ⚓", "version": "2.1.0"},
    "capabilities": {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}, "experimental": {"x": [1, -2.5, None, False, "y"]}},
}
OLD, NEW = generate(), generate()
FIELDS = (b"k" * 16, 1000.0, "2025-11-25", {}, "ci", b"proc")


def ids(keys: SealingKeys | None = None, *, lifetime: float | None = None, clock: Callable[[], float] = lambda: 1000.0) -> SessionIds:
    """Session ids of one process."""
    return SessionIds((keys or SealingKeys.parse(OLD)).sealer(PURPOSE), mint=b"proc", lifetime_seconds=lifetime, clock=clock)


def named(content: bytes) -> str:
    """Put bytes into the form of an id."""
    return "m1." + base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def packed(*fields: object) -> bytes:
    """Pack a record that may be of another release."""
    return msgspec.msgpack.encode(fields)


def replace(path: Path, text: str) -> None:
    """Replace a file as Kubernetes does: another inode under the same name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def noise(characters: int) -> str:
    """Text that no compression makes much smaller."""
    return (base64.b64encode(b"".join(generate().encode() for _ in range(1 + characters // 40))).decode())[:characters]


def largest(fits: Callable[[int], bool]) -> int:
    """Return the largest size that fits, by bisection."""
    low, high = 0, 4 * MAX_RECORD_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@pytest.fixture
def sealer() -> Sealer:
    """What every process of the ring seals ids with."""
    return SealingKeys.parse(OLD).sealer(PURPOSE)


def test_an_id_opens_to_its_session_in_another_process() -> None:
    name, record = ids().mint("2025-11-25", CLIENT, "ci")
    assert ids().open(name) == record
    assert (record.version, record.client, record.owner, record.mint, record.created) == ("2025-11-25", CLIENT, "ci", b"proc", 1000.0)
    assert len(record.key) == 16


def test_an_id_is_visible_ascii_that_shows_nothing_of_the_session() -> None:
    name, record = ids().mint("2025-11-25", CLIENT, "alice")
    assert re.fullmatch(r"m1\.[A-Za-z0-9_-]+", name)
    assert len(name) < 500
    content = base64.urlsafe_b64decode(name[3:] + "==")
    assert record.key not in content
    assert b"alice" not in content


def test_no_two_sessions_are_alike() -> None:
    minted = [ids().mint("2025-11-25", CLIENT, "ci") for _ in range(100)]
    assert len({name for name, _ in minted}) == len({record.key for _, record in minted}) == 100


def test_the_tag_is_short_and_the_same_everywhere() -> None:
    name, record = ids().mint("2025-11-25", CLIENT, "")
    opened = ids().open(name)
    assert opened is not None
    assert opened.tag == record.tag
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", record.tag)


def test_a_change_of_any_character_opens_nothing() -> None:
    reader = ids()
    name, record = reader.mint("2025-11-25", CLIENT, "ci")
    for position, right in enumerate(name):
        for wrong in {"A", "B", "-", "_", "+", "/", "=", ".", " ", "\n", "\0", "ü", "\ud800", right.swapcase()} - {right}:
            assert reader.open(name[:position] + wrong + name[position + 1 :]) is None
            assert reader.open(name[:position] + wrong + name[position:]) is None
    assert reader.open(name) == record


def test_a_flipped_bit_at_any_byte_opens_nothing() -> None:
    reader = ids()
    name, _ = reader.mint("2025-11-25", CLIENT, "ci")
    content = base64.urlsafe_b64decode(name[3:] + "==")
    for position in range(len(content)):
        forged = bytearray(content)
        forged[position] ^= 1 << position % 8
        assert reader.open(named(bytes(forged))) is None


def test_nothing_cut_or_lengthened_opens() -> None:
    reader = ids()
    name, _ = reader.mint("2025-11-25", CLIENT, "ci")
    assert [length for length in range(len(name)) if reader.open(name[:length]) is not None] == []
    assert [start for start in range(1, len(name)) if reader.open(name[start:]) is not None] == []
    for longer in ("=", "==", "A", " ", "\n", "." + name, name):
        assert reader.open(name + longer) is None


def test_only_one_of_the_texts_that_stand_for_the_same_bytes_is_an_id() -> None:
    reader, alphabet = ids(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for owner in ("", "a", "ab"):  # so that the last character has 0, 2 and 4 bits that stand for nothing
        name, _ = reader.mint("2025-11-25", {}, owner)
        assert [last for last in alphabet if reader.open(name[:-1] + last) is not None] == [name[-1]]


def test_what_is_too_long_for_an_id_is_not_even_decoded() -> None:
    assert ids().open("m1." + "A" * MAX_ID_CHARACTERS) is None
    assert ids().open("m1." + "A" * (MAX_ID_CHARACTERS - 3)) is None


def test_the_id_of_another_ring_or_purpose_opens_nothing() -> None:
    name, _ = ids(SealingKeys.parse(NEW)).mint("2025-11-25", CLIENT, "ci")
    assert ids().open(name) is None
    hop = SessionIds(SealingKeys.parse(OLD).sealer("hop"), mint=b"proc", lifetime_seconds=None)
    assert ids().open(hop.mint("2025-11-25", CLIENT, "ci")[0]) is None


def test_an_id_ends_with_its_lifetime_also_where_it_was_open_before() -> None:
    now = 1000.0
    reader = ids(lifetime=60, clock=lambda: now)
    name, record = reader.mint("2025-11-25", CLIENT, "ci")
    now = 1059.9
    assert reader.open(name) == record
    now = 1060.0
    assert reader.open(name) is None
    assert ids(lifetime=60, clock=lambda: 1060.0).open(name) is None
    assert ids(lifetime=None, clock=lambda: 1e9).open(name) == record


def test_a_creation_in_the_future_is_the_clock_of_another_replica() -> None:
    name, record = ids(clock=lambda: 1300.0).mint("2025-11-25", CLIENT, "ci")
    assert ids(lifetime=60, clock=lambda: 1000.0).open(name) == record


def test_ids_open_at_each_step_of_a_rotation_and_end_with_their_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(OLD)
    keys = SealingKeys.from_file(path)
    process = ids(keys)
    minted = [process.mint("2025-11-25", CLIENT, "ci")]
    for step in (f"{OLD}\n{NEW}", f"{NEW}\n{OLD}"):
        replace(path, step)
        assert keys.refresh() or keys.refresh(), "two looks have to agree"
        minted.append(process.mint("2025-11-25", CLIENT, "ci"))
        assert [process.open(name) for name, _ in minted] == [record for _, record in minted]
    replace(path, NEW)
    assert keys.refresh() or keys.refresh(), "two looks have to agree"
    assert [process.open(name) for name, _ in minted] == [None, None, minted[-1][1]], "what is remembered follows the ring"


def test_the_longest_client_that_fits_opens_and_a_longer_one_is_refused_in_words() -> None:
    text = noise(4 * MAX_ID_CHARACTERS)

    def fits(characters: int) -> bool:
        try:
            name, record = ids().mint("2025-11-25", {"clientInfo": {"name": text[:characters]}}, "ci")
        except ClientTooLarge:
            return False
        assert len(name) <= MAX_ID_CHARACTERS
        assert ids().open(name) == record
        return True

    size = largest(fits)
    assert MAX_ID_CHARACTERS // 2 < size < MAX_ID_CHARACTERS
    with pytest.raises(ClientTooLarge, match=r"clientInfo, capabilities.* it would have \d+ characters, at most 2048 are possible"):
        ids().mint("2025-11-25", {"clientInfo": {"name": text[: 2 * MAX_ID_CHARACTERS]}}, "ci")


def test_a_client_that_only_compression_makes_small_is_bounded_too() -> None:
    def fits(characters: int) -> bool:
        try:
            name, record = ids().mint("2025-11-25", {"clientInfo": {"name": "x" * characters}}, "ci")
        except ClientTooLarge:
            return False
        assert len(name) < MAX_ID_CHARACTERS
        assert ids().open(name) == record
        return True

    assert MAX_RECORD_BYTES - 100 < largest(fits) < MAX_RECORD_BYTES
    with pytest.raises(ClientTooLarge, match=rf"it has \d+ bytes, at most {MAX_RECORD_BYTES} are possible"):
        ids().mint("2025-11-25", {"clientInfo": {"name": "x" * MAX_RECORD_BYTES}}, "ci")


@pytest.mark.parametrize("value", [2**64, "\ud800"], ids=["an integer beyond 64 bits", "half a surrogate pair"])
def test_a_client_that_cannot_be_kept_is_refused_in_words(value: object) -> None:
    with pytest.raises(ClientTooLarge, match="holds a value that a session id cannot keep"):
        ids().mint("2025-11-25", {"capabilities": {"experimental": {"x": value}}}, "ci")


def test_a_client_nested_without_end_is_refused_in_words() -> None:
    client: dict[str, Any] = {}
    for _ in range(10 * sys.getrecursionlimit()):
        client = {"x": client}
    with pytest.raises(ClientTooLarge, match="cannot keep"):
        ids().mint("2025-11-25", client, "ci")


@pytest.mark.parametrize(("size", "opens"), [(MAX_RECORD_BYTES, True), (MAX_RECORD_BYTES + 1, False), (16 * MAX_RECORD_BYTES, False)])
def test_a_bomb_sealed_with_our_own_key_is_refused(sealer: Sealer, size: int, opens: bool) -> None:
    def bomb(characters: int) -> bytes:
        return packed(*FIELDS[:3], {"x": "x" * characters}, *FIELDS[4:])

    around = len(bomb(size - 100)) - (size - 100)
    content = bomb(size - around)
    assert len(content) == size
    name = named(sealer.seal(b"\1" + zlib.compress(content, level=9)))
    assert len(name) <= MAX_ID_CHARACTERS
    assert (ids().open(name) is not None) is opens


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"\1",
        b"\2" + packed(*FIELDS),
        b"\0" + packed(*FIELDS) + b"\0",
        b"\0" + packed(*FIELDS, "more"),
        b"\0" + packed(*FIELDS[:5]),
        b"\0" + packed(b"k" * 15, *FIELDS[1:]),
        b"\0" + packed(*FIELDS[:5], b"process"),
        b"\0" + packed(*FIELDS[:3], [], *FIELDS[4:]),
        b"\0" + b"\x96\xc4\x10" + b"k" * 16 + b"\xcb" + b"\0" * 8 + b"\xa1v" + b"\x81\xa1x" + b"\x91" * 1400,
        b"\1" + packed(*FIELDS),
        b"\1" + zlib.compress(packed(*FIELDS))[:-1],
        b"\1" + zlib.compress(packed(*FIELDS)) + b"\0",
    ],
    ids=lambda payload: bytes(payload[:24]).hex(),
)
def test_what_another_release_sealed_is_nothing(sealer: Sealer, payload: bytes) -> None:
    assert ids().open(named(sealer.seal(payload))) is None


@pytest.mark.parametrize("payload", [b"\0" + packed(*FIELDS), b"\1" + zlib.compress(packed(*FIELDS))], ids=["plain", "deflated"])
def test_the_form_of_a_record_is_fixed(sealer: Sealer, payload: bytes) -> None:
    assert ids().open(named(sealer.seal(payload))) == SessionRecord(b"k" * 16, 1000.0, "2025-11-25", {}, "ci", b"proc")


def test_an_open_session_is_remembered_and_the_oldest_of_many_forgotten() -> None:
    process = ids()
    names = [process.mint("2025-11-25", {}, "ci")[0] for _ in range(1025)]
    first = process.open(names[0])
    for name in names[1:1024]:
        process.open(name)
    assert process.open(names[0]) is first, "among 1,024"
    latest = process.open(names[1024])
    assert process.open(names[1024]) is latest
    again = process.open(names[0])
    assert again == first
    assert again is not first


def test_a_session_that_is_large_unpacked_is_remembered_as_well() -> None:
    process = ids()
    name, _ = process.mint("2025-11-25", {"capabilities": {"experimental": {"x": [[]] * 8_000}}}, "ci")
    assert process.open(name) is process.open(name)


def test_the_process_that_mints_has_four_bytes() -> None:
    with pytest.raises(ValueError, match="mint is not 4 bytes"):
        SessionIds(SealingKeys.ephemeral().sealer(PURPOSE), mint=b"abc", lifetime_seconds=None)
