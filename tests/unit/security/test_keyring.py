"""What is sealed opens for its purpose, its context and its ring alone, through every step of a rotation."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from moorage.errors import SettingsError
from moorage.security.keyring import MAX_FILE_BYTES, OVERHEAD_BYTES, SealingKeys, generate, sealing_keys
from moorage.settings import SecuritySettings
from tests.logged import logged

OLD, NEW = (base64.urlsafe_b64encode(bytes(range(start, start + 32))).decode().rstrip("=") for start in (0, 100))
SECRET = b"what a session began with"


def replace(path: Path, text: str) -> None:
    """Replace a file as Kubernetes does: another inode under the same name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(OLD + "\n")
    return path


def settles(keys: SealingKeys) -> bool:
    """Look until two looks agree; True when the ring is new."""
    return keys.refresh() or keys.refresh()


def test_what_is_sealed_opens_in_every_process_of_the_same_ring() -> None:
    sealed = SealingKeys.parse(OLD).sealer("session").seal(SECRET, b"context")
    assert SealingKeys.parse(OLD).sealer("session").open(sealed, b"context") == SECRET
    assert len(sealed) == len(SECRET) + OVERHEAD_BYTES
    assert SECRET not in sealed


def test_the_empty_payload_is_sealed_too() -> None:
    sealer = SealingKeys.ephemeral().sealer("session")
    assert sealer.open(sealer.seal(b"")) == b""


def test_nothing_is_sealed_alike_twice() -> None:
    sealer = SealingKeys.parse(OLD).sealer("session")
    assert len({sealer.seal(SECRET) for _ in range(100)}) == 100


def test_a_change_of_any_bit_opens_nothing() -> None:
    sealer = SealingKeys.parse(f"{OLD}\n{NEW}").sealer("session")
    sealed = sealer.seal(SECRET, b"context")
    for position in range(len(sealed)):
        for bit in range(8):
            forged = bytearray(sealed)
            forged[position] ^= 1 << bit
            assert sealer.open(bytes(forged), b"context") is None


def test_nothing_cut_or_lengthened_opens() -> None:
    sealer = SealingKeys.parse(OLD).sealer("session")
    sealed = sealer.seal(SECRET)
    assert [length for length in range(len(sealed)) if sealer.open(sealed[:length]) is not None] == []
    assert [start for start in range(1, len(sealed)) if sealer.open(sealed[start:]) is not None] == []
    assert sealer.open(sealed + b"\0") is None


def test_another_purpose_context_or_ring_opens_nothing() -> None:
    keys = SealingKeys.parse(OLD)
    sealed = keys.sealer("session").seal(SECRET, b"context")
    assert keys.sealer("hop").open(sealed, b"context") is None
    assert keys.sealer("session").open(sealed) is None
    assert keys.sealer("session").open(sealed, b"context2") is None
    assert SealingKeys.parse(NEW).sealer("session").open(sealed, b"context") is None
    assert SealingKeys.ephemeral().sealer("session").open(sealed, b"context") is None


def test_the_id_of_a_key_differs_from_purpose_to_purpose() -> None:
    keys = SealingKeys.parse(OLD)
    assert keys.sealer("session").seal(SECRET)[:4] == keys.sealer("session").seal(SECRET)[:4]
    assert keys.sealer("session").seal(SECRET)[:4] != keys.sealer("hop").seal(SECRET)[:4]


def test_a_rotation_step_by_step_fails_nowhere_between_two_replicas(tmp_path: Path) -> None:
    paths = (tmp_path / "a", tmp_path / "b")
    for path in paths:
        path.write_text(OLD)
    rings = [SealingKeys.from_file(path) for path in paths]
    sealers = [ring.sealer("session") for ring in rings]
    kept = [sealers[0].seal(SECRET)]
    for step in (f"{OLD}\n{NEW}", f"{NEW}\n{OLD}"):
        for path, ring in zip(paths, rings, strict=True):
            replace(path, step)  # one replica has the step, the other not yet
            assert settles(ring)
            kept += [sealer.seal(SECRET) for sealer in sealers]
            assert [sealer.open(sealed) for sealed in kept for sealer in sealers] == [SECRET] * len(kept) * 2
    latest = kept[-1]
    for path, ring in zip(paths, rings, strict=True):
        replace(path, NEW)
        assert settles(ring)
        assert [sealer.open(latest) for sealer in sealers] == [SECRET, SECRET]
    assert [sealer.open(kept[0]) for sealer in sealers] == [None, None], "the old key is gone"


def test_the_first_key_seals() -> None:
    both = SealingKeys.parse(f"{NEW}\n{OLD}").sealer("session")
    assert SealingKeys.parse(NEW).sealer("session").open(both.seal(SECRET)) == SECRET
    assert both.open(SealingKeys.parse(OLD).sealer("session").seal(SECRET)) == SECRET


def test_each_ring_of_a_file_has_a_generation(path: Path) -> None:
    keys = SealingKeys.from_file(path)
    sealer = keys.sealer("session")
    before = sealer.generation
    assert not keys.refresh()
    assert sealer.generation == before
    replace(path, NEW)
    assert settles(keys)
    assert sealer.generation == keys.generation != before
    assert not keys.refresh()


def test_comments_blank_lines_spaces_and_padding_are_nothing() -> None:
    keys = SealingKeys.parse(f"# first\n\n  {NEW}=  \r\n{OLD}\n")
    assert len(keys) == 2
    assert SealingKeys.parse(NEW).sealer("session").open(keys.sealer("session").seal(SECRET)) == SECRET


def test_a_byte_order_mark_is_no_part_of_the_first_line(path: Path) -> None:
    path.write_text(f"{OLD}\n{NEW}\n", encoding="utf-8-sig")
    assert len(SealingKeys.from_file(path)) == 2


def test_a_made_key_is_32_random_bytes_in_one_line() -> None:
    line = generate()
    assert len(base64.urlsafe_b64decode(line + "=")) == 32
    assert line != generate()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("canary", "this is not a sealing key"),
        ("canary-ü", "this is not a sealing key"),
        ("canary" + OLD, "this is not a sealing key"),
        (OLD[:-1], "this is not a sealing key"),
        (OLD + "==", "this is not a sealing key"),
        (OLD[:20] + " " + OLD[20:], "this is not a sealing key"),
        ("+" + OLD[1:], "this is not a sealing key"),
        (OLD[:-1] + "B", "this is not a sealing key"),  # bits that stand for nothing
        (base64.urlsafe_b64encode(b"k" * 31).decode().rstrip("="), "this is not a sealing key"),
        (base64.urlsafe_b64encode(b"k" * 33).decode().rstrip("="), "this is not a sealing key"),
        (OLD, "the key of this line is there already"),
        (OLD + "=", "the key of this line is there already"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_never_by_its_content(line: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        SealingKeys.parse(f"# first\n{OLD}\n{line}\n", "keys")
    assert caught.value.message == f"keys, line 3: {problem}"
    told = caught.value.message + caught.value.hint + repr(caught.value)
    assert "canary" not in told
    assert OLD[:20] not in told


def test_a_ring_without_a_key_is_none() -> None:
    with pytest.raises(SettingsError, match=r"^security\.sealing_keys: there is no sealing key"):
        SealingKeys.parse("# none yet\n")


@pytest.mark.parametrize(
    "content",
    [b"canary\n", b"", b"# none yet\n", b"\xff\xfe", b"#" * (MAX_FILE_BYTES + 1), None],
    ids=["bad line", "empty", "comments alone", "not text", "too large", "gone"],
)
def test_a_file_that_turns_bad_keeps_the_ring_and_is_logged_once(path: Path, content: bytes | None) -> None:
    keys = SealingKeys.from_file(path)
    sealer = keys.sealer("session")
    sealed, generation = sealer.seal(SECRET), keys.generation
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with logged() as events:
        assert not keys.refresh()
        assert not keys.refresh()
    assert sealer.open(sealed) == SECRET
    assert keys.generation == generation
    assert [(event["event"], event["log_level"], event["kept"]) for event in events] == [("sealing_keys.refused", "error", 1)]
    assert "canary" not in str(events)


def test_a_file_that_was_bad_takes_effect_once_it_is_mended_and_no_key_is_logged(path: Path) -> None:
    keys = SealingKeys.from_file(path)
    with logged() as events:
        replace(path, f"{NEW}\n{OLD}\n{OLD}\n")
        assert not settles(keys)
        assert keys.fault is not None
        replace(path, f"{NEW}\n{OLD}\n")
        assert settles(keys)
    assert keys.fault is None
    assert events[1:] == [{"event": "sealing_keys.loaded", "keys": 2, "log_level": "info"}]
    assert "line 3: the key of this line is there already" in events[0]["reason"]
    for text in (str(events), repr(keys), str(vars(type(keys)))):
        assert OLD not in text
        assert NEW not in text


def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the sealing keys in .*/none: No such file or directory"):
        sealing_keys(SecuritySettings(sealing_keys_file=str(tmp_path / "none")))
    (tmp_path / "bad").write_text("bad")
    with pytest.raises(SettingsError, match="bad, line 1: this is not a sealing key"):
        sealing_keys(SecuritySettings(sealing_keys_file=str(tmp_path / "bad")))


def test_the_settings_say_where_the_ring_is_and_else_it_is_the_processs_own(path: Path) -> None:
    own = sealing_keys(SecuritySettings())
    value = sealing_keys(SecuritySettings(sealing_keys=SecretStr(OLD)))
    file = sealing_keys(SecuritySettings(sealing_keys_file=str(path)))
    assert [keys.shared for keys in (own, value, file)] == [False, True, True]
    assert file.sealer("session").open(value.sealer("session").seal(SECRET)) == SECRET
    assert own.look() is None
    assert value.look() is None
    replace(path, NEW)
    assert settles(file)
