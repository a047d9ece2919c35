"""Keys are stored as digests, refused by line number alone, and follow their file."""

import hashlib
import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from moorage.errors import SettingsError
from moorage.security.api_keys import MAX_FILE_BYTES, KeyFile, KeyRing, generate, key_source, stored_line
from moorage.settings import SecuritySettings

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


def test_an_unchanged_file_is_not_read_again(path: Path) -> None:
    keys = KeyFile(path)
    ring = keys.ring
    assert not keys.refresh()
    assert keys.ring is ring


def test_a_replaced_file_takes_effect_and_is_told(path: Path) -> None:
    keys = KeyFile(path)
    told: list[bool] = []
    keys.on_change(lambda: told.append(keys.ring.lookup(OTHER_TOKEN) is not None))
    replace(path, OTHER_LINE)
    assert keys.refresh()
    assert keys.ring.lookup(TOKEN) is None
    assert told == [True]
    assert not keys.refresh()


def test_a_file_that_is_rewritten_in_place_takes_effect(path: Path) -> None:
    keys = KeyFile(path)
    path.write_text(f"{LINE}\n{OTHER_LINE}\n")
    assert keys.refresh()
    assert len(keys.ring) == 2


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
    assert keys.refresh()
    assert keys.ring.lookup(TOKEN) is None


def test_revoking_every_key_takes_effect(path: Path) -> None:
    keys = KeyFile(path)
    replace(path, "")
    assert keys.refresh()
    assert len(keys.ring) == 0


@pytest.mark.parametrize(
    "content", [b"canary\n", b"\xff\xfe", b"#" * (MAX_FILE_BYTES + 1), None], ids=["bad line", "not text", "too large", "gone"]
)
def test_a_file_that_turns_bad_keeps_the_valid_keys_and_is_logged_once(path: Path, content: bytes | None) -> None:
    keys = KeyFile(path)
    keys.on_change(lambda: pytest.fail("nothing changed"))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with capture_logs() as events:
        assert not keys.refresh()
        assert not keys.refresh()
    assert keys.ring.lookup(TOKEN) is not None
    assert [(event["event"], event["log_level"], event["kept"]) for event in events] == [("api_keys.refused", "error", 1)]
    assert "canary" not in str(events)
    replace(path, OTHER_LINE)
    assert not keys.ring.lookup(OTHER_TOKEN)


def test_a_file_that_was_bad_takes_effect_once_it_is_mended(path: Path) -> None:
    keys = KeyFile(path)
    replace(path, "bad")
    assert not keys.refresh()
    replace(path, OTHER_LINE)
    with capture_logs() as events:
        assert keys.refresh()
    assert events == [{"event": "api_keys.loaded", "keys": 1, "names": 1, "log_level": "info"}]


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
    assert not fixed.refresh()
    assert fixed.ring.lookup(TOKEN) is not None


def test_a_source_without_any_key_is_warned_about(path: Path) -> None:
    path.write_text("# none yet\n")
    with capture_logs() as events:
        assert key_source(SecuritySettings(api_keys_file=str(path))) is not None
    assert [event["event"] for event in events] == ["api_keys.empty"]
