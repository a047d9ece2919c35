"""The Authorization header becomes a principal, or a challenge that says no more than it should."""

import json
from pathlib import Path

import pytest

from moorage.security.api_keys import FixedKeys, KeyFile, KeyRing, generate, stored_line
from moorage.security.authn import Authenticator
from moorage.security.bounds import REMEMBERED
from moorage.security.challenge import INVALID, MISSING, Challenge
from moorage.security.principal import ANONYMOUS, Principal

TOKEN = "moor_" + "k" * 43
LINE = stored_line("ci", TOKEN)
KEYS = FixedKeys(KeyRing.parse(LINE))


def bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


def strict() -> Authenticator:
    return Authenticator(KEYS, anonymous=False)


@pytest.mark.parametrize(
    "raw",
    [bearer(TOKEN), f"bearer {TOKEN}".encode(), f"BEARER   {TOKEN}".encode(), f" Bearer\t{TOKEN} ".encode()],
    ids=["usual", "lower", "upper", "spaces"],
)
def test_a_valid_key_names_its_principal(raw: bytes) -> None:
    authenticator = strict()
    for _ in range(2):
        principal = authenticator.authenticate(raw)
        assert isinstance(principal, Principal)
        assert principal.name == "ci"


@pytest.mark.parametrize("raw", [None, b"", b"Basic Y2k6Y2k=", TOKEN.encode(), b"Bearerish x"])
def test_who_shows_no_bearer_key_is_asked_for_one(raw: bytes | None) -> None:
    assert strict().authenticate(raw) is MISSING


@pytest.mark.parametrize(
    "raw",
    [
        b"Bearer",
        b"Bearer ",
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "A"),
        bearer(TOKEN + " " + TOKEN),
        bearer(f"{TOKEN}, Bearer {TOKEN}"),
        bearer("ci:" + TOKEN),
        bearer(LINE.partition(":")[2]),
        b"Bearer \xff\xfe",
        b"Bearer " + b"a" * 100_000,
        bearer(TOKEN) + b" " * 1000,
    ],
    ids=["nothing", "space", "short", "long", "two", "list", "named", "digest", "bytes", "huge", "padded"],
)
@pytest.mark.parametrize("anonymous", [False, True])
def test_a_key_that_is_not_valid_is_refused_even_where_none_is_needed(raw: bytes, anonymous: bool) -> None:
    authenticator = Authenticator(KEYS, anonymous=anonymous)
    assert authenticator.authenticate(raw) is INVALID
    assert authenticator.authenticate(raw) is INVALID


@pytest.mark.parametrize("raw", [None, b"Basic Y2k6Y2k="])
def test_who_shows_no_key_is_anonymous_where_that_is_allowed(raw: bytes | None) -> None:
    assert Authenticator(KEYS, anonymous=True).authenticate(raw) is ANONYMOUS


def test_without_any_keys_a_token_says_nothing() -> None:
    assert Authenticator(None, anonymous=True).authenticate(b"Bearer from-some-proxy") is ANONYMOUS
    assert Authenticator(None, anonymous=False).authenticate(b"Bearer from-some-proxy") is MISSING


def test_a_revoked_key_is_refused_as_soon_as_its_file_changed(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(LINE)
    keys = KeyFile(path)
    authenticator = Authenticator(keys, anonymous=False)
    assert authenticator.authenticate(bearer(TOKEN)) is not INVALID
    token, line = generate("ci")
    path.write_text(line + "\n")
    assert not keys.refresh()
    assert keys.refresh()
    assert authenticator.authenticate(bearer(TOKEN)) is INVALID
    assert isinstance(authenticator.authenticate(bearer(token)), Principal)


def test_no_client_can_fill_the_memory() -> None:
    authenticator = strict()
    for count in range(REMEMBERED + 50):
        authenticator.authenticate(b"Bearer" + b" " * (count % 400 + 1) + TOKEN.encode() + b" " * (count // 400))
        authenticator.authenticate(b"Bearer x%d" % count)
    assert 0 < len(authenticator._known) <= REMEMBERED


def test_a_challenge_without_a_key_says_nothing_about_an_error() -> None:
    assert challenge_of(MISSING) == 'Bearer realm="moorage"'


def test_a_challenge_to_a_bad_key_says_that_it_is_bad() -> None:
    assert challenge_of(INVALID) == 'Bearer realm="moorage", error="invalid_token", error_description="The API key is not valid"'


@pytest.mark.parametrize("challenge", [MISSING, INVALID])
def test_a_challenge_is_a_json_rpc_error_that_no_cache_keeps(challenge: Challenge) -> None:
    assert challenge.status == 401
    assert (b"cache-control", b"no-store") in challenge.headers
    body = json.loads(challenge.body)
    assert (body["jsonrpc"], body["id"], body["error"]["code"]) == ("2.0", None, -32001)


def challenge_of(challenge: Challenge) -> str:
    return dict(challenge.headers)[b"www-authenticate"].decode()
