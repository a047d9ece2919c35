"""A session's subscriptions are bounded in number and bytes, and what was taken away makes room."""

from __future__ import annotations

from moorage.protocol.subscriptions import LONGEST, MOST, MOST_BYTES, Subscriptions


def filled(uris: list[str]) -> Subscriptions:
    it = Subscriptions()
    for uri in uris:
        assert it.refuses(uri) is None
        it.change(uri, wanted=True)
    return it


def test_no_more_than_so_many_are_kept() -> None:
    it = filled([f"a:{number}" for number in range(MOST)])
    assert it.refuses("a:0") is None, "it is there already"
    assert it.refuses("a:new") is not None
    it.change("a:0", wanted=False)
    assert it.refuses("a:new") is None


def test_no_more_than_so_many_bytes_are_kept() -> None:
    it = filled(["x" * (LONGEST - 4) + f"{number:04}" for number in range(MOST_BYTES // LONGEST)])
    assert it.refuses("y") is not None


def test_what_is_too_long_or_no_text_is_refused() -> None:
    assert Subscriptions().refuses("x" * (LONGEST + 1)) is not None
    assert Subscriptions().refuses("ship://\ud800") is not None
