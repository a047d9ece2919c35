"""Keys are stored as digests, refused by line number alone, and follow their file."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from moorage.errors import SettingsError
from moorage.security.api_keys import MAX_FILE_BYTES, KeyFile, KeyRing, generate, key_source, stored_line
from moorage.settings import SecuritySettings
from tests.logged import logged

TOKEN = "moor_" + "k" * 43
LINE = stored_line("ci", TOKEN)
OTHER_TOKEN = "moor_" + "o" * 43
OTHER_LINE = stored_line("agent", OTHER_TOKEN)
DIGEST = LINE.partition(":")[2]


def replace(path: Path, text: str) -> None:
    """Replace a file as Kubernetes does: another inode under the same name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(LINE + "\n")
    return path


def test_a_new_key_is_known_by_its_line_which_holds_only_a_digest() -> None:
    principal = KeyRing.parse(LINE).lookup(TOKEN)
    assert principal is not None
    assert principal.name == "ci"
    assert not principal.anonymous
    assert hashlib.sha256(TOKEN.encode()).hexdigest() == DIGEST
    assert TOKEN.startswith("moor_")
    assert len(TOKEN) >= 48
    assert generate("ci")[0] != TOKEN


def test_nobody_knows_the_key_from_its_id() -> None:
    principal = KeyRing.parse(LINE).lookup(TOKEN)
    assert principal is not None
    assert principal.key_id == DIGEST[:8]
    assert principal.key_id not in TOKEN


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), DIGEST, "moor_", OTHER_TOKEN, "\ud800"])
def test_any_other_token_is_nobodys(token: str) -> None:
    assert KeyRing.parse(LINE).lookup(token) is None


def test_comments_blank_lines_and_spaces_are_skipped() -> None:
    ring = KeyRing.parse(f"# keys of ci\n\n  {LINE}  \r\nagent : {OTHER_LINE.partition(':')[2].upper()}\n")
    assert ring.names == {"ci", "agent"}
    assert ring.lookup(OTHER_TOKEN) is not None


def test_two_keys_of_one_name_are_a_rotation() -> None:
    token, line = generate("ci")
    ring = KeyRing.parse(f"{LINE}\n{line}\n")
    old, new = ring.lookup(TOKEN), ring.lookup(token)
    assert old is not None
    assert new is not None
    assert (old.name, new.name) == ("ci", "ci")
    assert old.key_id != new.key_id


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("canary", "there is no colon"),
        (f"canary name:{DIGEST}", "the name is not 1 to 64 letters, digits and . _ @ - inside"),
        (f":{DIGEST}", "the name is not 1 to 64 letters, digits and . _ @ - inside"),
        (f"{'n' * 65}:{DIGEST}", "the name is not 1 to 64 letters, digits and . _ @ - inside"),
        ("ci:canary", "what follows the colon is not a SHA-256 in hexadecimal"),
        (f"ci:{TOKEN}", "what follows the colon is not a SHA-256 in hexadecimal"),
        (f"ci:{DIGEST}:canary", "what follows the colon is not a SHA-256 in hexadecimal"),
        (f"canary:{DIGEST}", "the key of this line belongs to another name already"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_never_by_its_content(line: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        KeyRing.parse(f"# first\n{LINE}\n{line}\n", "keys")
    assert caught.value.message == f"keys, line 3: {problem}"
    assert "canary" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("name", ["", "a b", "a:b", "-a", "a\n", "#a", "n" * 65, "ü"])
def test_a_name_that_cannot_be_stored_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot name a key"):
        generate(name)


@pytest.mark.parametrize("token", ["", "canary", "moor_short", "moor_" + "a" * 31, "moor_" + "!" * 40, " " + TOKEN])
def test_only_a_key_is_hashed_and_what_is_none_is_not_repeated(token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        stored_line("ci", token)
    assert caught.value.message == "this is not an API key"


def settles(keys: KeyFile) -> bool:
    """Look until two looks agree; True when other keys are valid then."""
    return keys.refresh() or keys.refresh()


def test_an_unchanged_file_is_not_read_again(path: Path) -> None:
    keys = KeyFile(path)
    ring = keys.ring
    assert keys.look() is None
    assert keys.ring is ring


def test_a_replaced_file_takes_effect_when_two_looks_agree_and_is_told(path: Path) -> None:
    keys = KeyFile(path)
    told: list[bool] = []
    keys.on_change(lambda: told.append(keys.ring.lookup(OTHER_TOKEN) is not None))
    replace(path, OTHER_LINE)
    assert not keys.refresh()
    assert keys.ring.lookup(TOKEN) is not None
    assert keys.refresh()
    assert keys.ring.lookup(TOKEN) is None
    assert told == [True]
    assert keys.look() is None


def test_a_file_that_is_half_written_is_not_taken_for_a_revocation(path: Path) -> None:
    keys = KeyFile(path)
    path.write_text(f"{LINE}\n{OTHER_LINE}\n"[:40])
    assert not keys.refresh()
    path.write_text(f"{LINE}\n{OTHER_LINE}\n")
    assert not keys.refresh()
    assert keys.ring.lookup(TOKEN) is not None
    assert keys.refresh()
    assert (len(keys.ring), keys.fault) == (2, None)


def test_a_swapped_symlink_takes_effect_though_times_and_sizes_are_equal(tmp_path: Path) -> None:
    _, second = generate("ci")
    for folder, line in (("..1", LINE), ("..2", second)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "keys").write_text(line)
        os.utime(tmp_path / folder / "keys", (1, 1))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    keys = KeyFile(tmp_path / "keys")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert settles(keys)
    assert keys.ring.lookup(TOKEN) is None


def test_a_byte_order_mark_is_no_part_of_the_first_line(path: Path) -> None:
    path.write_text(LINE, encoding="utf-8-sig")
    keys = KeyFile(path)
    assert keys.ring.lookup(TOKEN) is not None
    path.write_text(f"{OTHER_LINE}\n{LINE}", encoding="utf-8-sig")
    assert settles(keys)
    assert keys.ring.lookup(OTHER_TOKEN) is not None
    assert keys.fault is None


def test_of_a_file_with_bad_lines_the_good_ones_count_and_no_other(path: Path) -> None:
    keys = KeyFile(path)
    replace(path, f"canary\n{OTHER_LINE}\ncanary:canary\n")
    with logged() as events:
        assert settles(keys)
    assert (keys.ring.lookup(TOKEN), keys.ring.lookup(OTHER_TOKEN) is not None) == (None, True)
    told = next(event for event in events if event["event"] == "api_keys.bad_lines")
    assert (told["lines"], told["log_level"]) == ([1, 3], "error")
    assert keys.fault is not None
    assert "2 bad lines" in keys.fault
    assert "line 1: there is no colon" in keys.fault
    assert "canary" not in str(events) + keys.fault
    replace(path, OTHER_LINE)
    settles(keys)
    assert keys.fault is None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def spoil(path: Path, how: str) -> None:
    """Put something unusable in the place of the file."""
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    match how:
        case "gone":
            pass
        case "empty":
            path.write_text(" \n")
        case "comments alone":
            path.write_text("# nobody\n\n  # yet")
        case "not text":
            path.write_bytes(b"\xff\xfe")
        case "too large":
            path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            raise AssertionError(how)


UNUSABLE = ["gone", "empty", "comments alone", "not text", "too large", "folder", "pipe"]


@pytest.mark.parametrize("how", UNUSABLE)
def test_while_nothing_is_usable_the_last_keys_are_valid_for_the_grace_time_and_then_none_is(path: Path, how: str) -> None:
    clock = Clock()
    keys = KeyFile(path, 60, clock)
    spoil(path, how)
    with logged() as events:
        for clock.now in (1.0, 2.0, 60.9):
            assert not keys.refresh()
            assert keys.ring.lookup(TOKEN) is not None
            assert keys.fault is not None
            assert keys.fault.endswith(": the last 1 keys stay valid for 60 seconds")
        clock.now = 61.0
        assert keys.refresh()
        assert keys.ring.lookup(TOKEN) is None
        assert keys.fault.endswith(": no key is valid")
        assert not keys.refresh()
    assert [event["event"] for event in events] == ["api_keys.unusable"] * 2, "said once for each effect"
    if path.is_dir():
        path.rmdir()
    replace(path, OTHER_LINE)
    assert settles(keys)
    assert (keys.ring.lookup(OTHER_TOKEN) is not None, keys.fault) == (True, None)


def test_looking_at_what_is_no_file_leaves_no_descriptor_open(path: Path) -> None:
    keys = KeyFile(path)
    spoil(path, "folder")
    keys.refresh()
    before = os.listdir("/dev/fd")
    for _ in range(3):
        keys.refresh()
    assert os.listdir("/dev/fd") == before


def test_a_file_that_comes_back_within_the_grace_time_changes_nothing(path: Path) -> None:
    clock = Clock()
    keys = KeyFile(path, 60, clock)
    keys.on_change(lambda: pytest.fail("nothing changed"))
    for _ in range(3):
        spoil(path, "gone")
        clock.now += 50
        keys.refresh()
        path.write_text(LINE)
        assert not settles(keys)
        assert keys.fault is None


def test_a_file_that_never_settles_counts_as_unusable(path: Path) -> None:
    clock = Clock()
    keys = KeyFile(path, 60, clock)
    for second in range(61):
        clock.now = float(second)
        path.write_text(f"{LINE}\n" + "#" * (second + 1))
        keys.refresh()
    assert len(keys.ring) == 0


STATES = st.sampled_from(["one", "other", "both", "bad and other", "half", *UNUSABLE])


@given(states=st.lists(st.tuples(STATES, st.integers(1, 4), st.integers(0, 40)), max_size=12))
def test_whatever_happens_to_the_file_valid_is_what_it_last_held_whole_and_nothing_after_the_grace_time(
    states: list[tuple[str, int, int]],
) -> None:
    contents = {"one": LINE, "other": OTHER_LINE, "both": f"{LINE}\n{OTHER_LINE}", "bad and other": f"bad\n{OTHER_LINE}", "half": LINE[:30]}
    valid = {"one": {TOKEN}, "other": {OTHER_TOKEN}, "both": {TOKEN, OTHER_TOKEN}, "bad and other": {OTHER_TOKEN}, "half": set[str]()}
    with tempfile.TemporaryDirectory() as folder:
        path, clock = Path(folder, "keys"), Clock()
        path.write_text(LINE)
        keys, expected = KeyFile(path, 60, clock), {TOKEN}
        unusable_since: float | None = None
        seen: str | None = None  # the content that the last look has read, and none has confirmed
        for state, looks, pause in states:
            spoil(path, "gone" if state in contents else state)
            if state in contents:
                replace(path, contents[state])
            settled = False
            for _ in range(looks):
                clock.now += 1
                keys.refresh()
                if state in contents and seen == contents[state]:
                    expected, unusable_since, settled, seen = valid[state], None, True, None
                elif not settled:
                    seen = contents.get(state)
                    unusable_since = clock.now if unusable_since is None else unusable_since
                    expected = set() if clock.now - unusable_since >= 60 else expected
                assert {token for token in (TOKEN, OTHER_TOKEN) if keys.ring.lookup(token)} == expected
            clock.now += pause


def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the API keys in .*/none: No such file or directory"):
        key_source(SecuritySettings(api_keys_file=str(tmp_path / "none")))
    (tmp_path / "bad").write_text("bad")
    with pytest.raises(SettingsError, match="bad, line 1: there is no colon"):
        key_source(SecuritySettings(api_keys_file=str(tmp_path / "bad")))


def test_the_settings_say_where_the_keys_are(path: Path) -> None:
    assert key_source(SecuritySettings()) is None
    assert isinstance(key_source(SecuritySettings(api_keys_file=str(path))), KeyFile)
    fixed = key_source(SecuritySettings(api_keys=SecretStr(LINE)))
    assert fixed is not None
    fixed.on_change(lambda: None)
    assert fixed.look() is None
    assert fixed.ring.lookup(TOKEN) is not None


def test_a_source_without_any_key_is_warned_about(path: Path) -> None:
    path.write_text("# none yet\n")
    with logged() as events:
        assert key_source(SecuritySettings(api_keys_file=str(path))) is not None
    assert [event["event"] for event in events] == ["api_keys.empty"]
