"""What a table of clients says, and what counts as something that a client cannot do."""

from pathlib import Path

from tests.clients.features import Attempt, Feature
from tests.clients.kinds import Kind, Lack
from tests.clients.modes import Mode
from tests.clients.trial import Kept, Verdict, table


async def nothing(attempt: Attempt) -> None:
    del attempt


MODE = Mode("m", "one mode", 1, store=False, features=(Feature("calls", nothing), Feature("sampling", nothing)))
CLIENTS = (Kind("ada", ("ada",), "2025-11-25"), Kind("grace", ("grace",), "2026-07-28"))


def test_a_table_shows_each_cell_and_each_reason_once():
    failed, none = Verdict(Kept.FAILED, "it hung"), Verdict(Kept.CLIENT_HAS_NONE, "it never learnt")

    lines = table(MODE, CLIENTS, [[Verdict(Kept.OK), failed], [failed, none]]).splitlines()

    assert [line.split() for line in lines[1:3]] == [["calls", "ok", "FAILED"], ["sampling", "FAILED", "the", "client", "has", "none"]]
    assert [line.strip() for line in lines[3:]] == [
        "FAILED  it hung (ada: sampling; grace: calls)",
        "the client has none  it never learnt (grace: sampling)",
    ]


def test_a_lack_stands_as_long_as_the_source_shows_it(tmp_path: Path):
    source = tmp_path / "client.js"
    source.write_text("let position;\nlet position;\n")

    assert Lack("", (source,), r"let position;", times=2).stands()
    assert not Lack("", (source,), r"let position;", times=1).stands()
    assert Lack("", (source,), "resume", times=0).stands()
    assert not Lack("", (), "resume", times=0).stands()
