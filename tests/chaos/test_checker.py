"""The checker finds every kind of wrong in histories that are right but for it, and nothing in those that are right."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checker import ANSWER_SECONDS, check
from tests.chaos.history import GET_STREAM, Asked, Begun, Ended, Fault, Finished, Gap, History, Journal, Received, load, stream_of
from tests.chaos.scenes import Scene

SEEDS = range(25)


def wrongs(history: History) -> set[str]:
    return {finding.wrong for finding in check(history).findings}


def one_of(records: list[Received], *, but: Callable[[Received], bool] = lambda record: False, seed: int = 0) -> Received:
    return random.Random(seed).choice([record for record in records if not but(record)])


def received(scene: Scene, *, owed: bool = False) -> list[Received]:
    """What came; with `owed`, only integers of calls with a result that ran once and whose stream had no gap."""
    records = scene.history.of(Received)
    return [record for record in records if not owed or scene.is_owed(record)]


def without(history: History, *gone: object) -> History:
    return History([record for record in history.records if not any(record is one for one in gone)])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_in_which_all_is_well_has_no_findings(seed: int) -> None:
    assert check(Scene(seed).history).findings == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_integer_of_a_call_with_a_result_is_missed(seed: int) -> None:
    scene = Scene(seed)
    last = one_of([record for record in received(scene, owed=True) if scene.is_last(record)], seed=seed)
    assert wrongs(without(scene.history, last)) == {"lost"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hole_that_nobody_was_told_of_is_a_gap(seed: int) -> None:
    scene = Scene(seed)
    inner = one_of(received(scene, owed=True), but=scene.is_last, seed=seed)
    assert wrongs(without(scene.history, inner)) == {"gap"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hole_is_a_gap_even_in_a_call_that_ended_as_unknown(seed: int) -> None:
    scene = Scene(seed)
    orphaned = {ended.call for ended in scene.history.of(Ended) if ended.code == -32011}
    inner = one_of(
        [record for record in received(scene) if int(record.stream.replace(GET_STREAM, "0")) in orphaned], but=scene.is_last_seen
    )
    assert wrongs(without(scene.history, inner)) == {"gap"}


def test_a_hole_that_the_client_was_told_of_is_none() -> None:
    scene = Scene(1)
    notice = one_of([record for record in received(scene, owed=True) if record.kind == "notice"])
    history = without(scene.history, notice)
    history.add(Gap(notice.at, notice.session, GET_STREAM, "position"))
    assert wrongs(history) == set()


def test_being_told_of_one_hole_does_not_excuse_a_later_one() -> None:
    scene = Scene(1)
    notice = one_of([record for record in received(scene, owed=True) if record.kind == "notice"])
    history = without(scene.history, notice)
    [asked] = [call for call in history.of(Asked) if call.call <= notice.value < call.call + call.count]
    history.add(Gap(asked.at - 0.001, notice.session, GET_STREAM, "position"))
    assert wrongs(history) & {"gap", "lost"}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_event_that_comes_twice_is_found(seed: int) -> None:
    scene = Scene(seed)
    once = one_of(received(scene), seed=seed)
    at = scene.history.records.index(once)
    scene.history.records.insert(at + 1, once)
    assert "duplicated" in wrongs(scene.history)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_integer_that_comes_twice_under_two_event_ids_is_found(seed: int) -> None:
    scene = Scene(seed)
    once = one_of(received(scene), seed=seed)
    scene.history.add(replace(once, event_id=f"{once.event_id}0"))
    assert "duplicated" in wrongs(scene.history)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_events_that_change_places_are_found(seed: int) -> None:
    scene = Scene(seed)
    first = one_of([record for record in received(scene) if scene.follower(record)], seed=seed)
    second = scene.follower(first)
    records = scene.history.records
    one, two = records.index(first), records.index(second)
    records[one], records[two] = records[two], records[one]
    assert "reordered" in wrongs(scene.history)


def test_event_ids_that_fall_are_found_though_the_integers_rise() -> None:
    scene = Scene(3)
    first = one_of([record for record in received(scene) if scene.follower(record)])
    second = scene.follower(first)
    records = scene.history.records
    records[records.index(first)] = replace(first, event_id=second.event_id)
    records[records.index(second)] = replace(second, event_id=first.event_id)
    assert wrongs(scene.history) == {"reordered"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_call_that_never_ends_is_silent(seed: int) -> None:
    scene = Scene(seed)
    ended = random.Random(seed).choice(scene.history.of(Ended))
    assert wrongs(without(scene.history, ended)) == {"silent"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_call_that_a_client_gave_up_is_silent(seed: int) -> None:
    scene = Scene(seed)
    ended = random.Random(seed).choice(scene.history.of(Ended))
    history = without(scene.history, ended)
    history.add(replace(ended, verdict="silent", code=None, named=None))
    assert wrongs(history) == {"silent"}


def test_a_call_that_ends_too_long_after_the_fault_is_late() -> None:
    history = History([Asked(0, "a", 1, 0, "append"), Ended(19, "a", 1, "result", named=1), Fault(1, 9.5, "pause")])
    assert wrongs(history) == set()
    assert wrongs(History([*history.records, Fault(30, 40, "another, later")])) == set()
    assert wrongs(History([*history.records[:2], Fault(1, 19 - ANSWER_SECONDS - 0.5, "pause")])) == {"late"}
    assert wrongs(History(history.records[:2])) == {"late"}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_integer_of_another_session_is_found(seed: int) -> None:
    scene = Scene(seed)
    stray = one_of(received(scene), seed=seed)
    other = next(asked.session for asked in scene.history.of(Asked) if asked.session != stray.session)
    scene.history.add(replace(stray, session=other))
    assert "crossed" in wrongs(scene.history)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_integer_on_the_stream_of_another_call_is_found(seed: int) -> None:
    scene = Scene(seed)
    stray = one_of(received(scene), seed=seed)
    other = next(
        stream_of(call.call)
        for call in scene.history.of(Asked)
        if call.session == stray.session and stream_of(call.call) != stray.stream and not call.call <= stray.value < call.call + call.count
    )
    scene.history.add(replace(stray, stream=other))
    assert "crossed" in wrongs(scene.history)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_result_of_another_call_is_found(seed: int) -> None:
    scene = Scene(seed)
    ended = random.Random(seed).choice([ended for ended in scene.history.of(Ended) if ended.verdict == "result"])
    history = without(scene.history, ended)
    history.add(replace(ended, named=ended.call + 1))
    assert wrongs(history) == {"crossed"}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_integer_that_no_tool_emitted_is_found(seed: int) -> None:
    scene = Scene(seed)
    genuine = one_of(received(scene), seed=seed)
    records = scene.history.records
    records[records.index(genuine)] = replace(genuine, run="nobody's")
    assert "never emitted" in wrongs(scene.history)


def test_a_tool_that_may_not_be_repeated_and_was_is_found() -> None:
    scene = Scene(2)
    begun = next(begun for begun in scene.history.of(Begun) if begun.tool == "append_once")
    scene.history.add(replace(begun, run="another", process=99))
    assert wrongs(scene.history) == {"repeated"}


def test_an_owner_that_goes_on_after_another_took_over_is_found() -> None:
    scene = Scene(4)
    rerun = scene.rerun()
    mine = [record for record in received(scene) if record.stream == rerun and record.kind == "log"]
    old = [record for record in mine if record.run == mine[0].run]
    new = [record for record in mine if record.run != mine[0].run]
    records = scene.history.records
    records.remove(old[-1])
    records.insert(records.index(new[0]) + 1, old[-1])
    assert "two owners" in wrongs(scene.history)


def test_progress_that_falls_back_is_found() -> None:
    scene = Scene(4)
    last = [record for record in received(scene) if record.progress is not None and record.stream == scene.rerun()][-1]
    scene.history.records[scene.history.records.index(last)] = replace(last, progress=0.5)
    assert wrongs(scene.history) == {"fell back"}


def test_a_second_reader_may_begin_anywhere_but_misses_nothing_then() -> None:
    scene = Scene(5)
    stream = one_of([record for record in received(scene, owed=True) if record.kind == "notice"])
    seen = [record for record in received(scene) if (record.session, record.stream, record.run) == (stream.session, GET_STREAM, stream.run)]
    late = [replace(record, reader="second", event_id=None) for record in seen[1:]]
    assert wrongs(History([*scene.history.records, *late])) == set()
    assert wrongs(History([*scene.history.records, late[0], *late[2:]])) == {"gap"}


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    history = Scene(6).history
    history.save(tmp_path / "history")
    assert load((tmp_path / "history").read_text().splitlines()).records == history.records


def test_a_line_that_a_kill_cut_short_is_left_out_of_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_JOURNAL", str(tmp_path))
    journal = Journal()
    journal.write(Begun(1, "r", "append", 7))
    journal.write(Finished("r"))
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    history = History([Asked(0, "a", 1, 1, "append")])
    history.read_journals(tmp_path)
    assert history.records[1:] == [Begun(1, "r", "append", 7)]
