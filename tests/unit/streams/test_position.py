"""A position is honoured if and only if nothing after it is missing, wherever a stream is cut and however its log was trimmed.

The log here is a model in a few lines that says what the store promises (`LoggedTail`); the store itself is held to it in
`tests/unit/store/test_log_model.py`.
"""

from __future__ import annotations

import random

import pytest

from moorage.streams.position import Position, base36, epoch_of, id_prefix, read_position, recoverable
from tests.unit.streams.log_model import Entry, LogModel, Tail, random_log

TAG, BIRTH = "aB3_-xYzQQQQQQQQQQQQQQ", 1_795_500_000_123


# Event ids


@pytest.mark.parametrize("number", [0, 1, 35, 36, 37, 46_655, 46_656, 10**12, 2**53])
def test_numbers_are_written_in_base_36(number: int):
    assert int(base36(number), 36) == number
    assert base36(number) == base36(number).lower()


def test_an_event_id_is_read_as_it_was_written():
    chance = random.Random(7)
    for _ in range(500):
        stream = chance.choice(["g", f"{base36(chance.randrange(2**50))}-{base36(chance.randrange(1, 10**6))}"])
        offset = chance.randrange(10**9)
        event_id = id_prefix(TAG, BIRTH, stream) + base36(offset)
        assert read_position(event_id, TAG, ((BIRTH, 0),)) == Position(stream, offset)
        assert event_id.isascii()
        assert event_id.isprintable()


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        "...",
        "g.1",
        "aB3_-xYz.{birth}.g",
        "aB3_-xYz.{birth}.g.",
        "aB3_-xYz.{birth}.g.1.1",
        "aB3_-xYz.{birth}..1",
        "aB3_-xYz.{birth}.g.-1",
        "aB3_-xYz.{birth}.g.+1",
        "aB3_-xYz.{birth}.g.1 ",
        "aB3_-xYz.{birth}.g.1_0",
        "aB3_-xYz.{birth}.g.A",
        "aB3_-xYz.{birth}.g.\N{ARABIC-INDIC DIGIT ONE}",
        "aB3_-xYz.{birth}.g.0123456789abc",
        "aB3_-xYz.{birth}.g:x.1",
        "aB3_-xYz.{birth}." + "g" * 33 + ".1",
        "AB3_-xYz.{birth}.g.1",
        "aB3_-xY.{birth}.g.1",
        "aB3_-xYzQ.{birth}.g.1",
        "aB3_-xYz.{other}.g.1",
        "aB3_-xYz.0{birth}.g.1",
        "aB3_-xYz.{birth}.g.1\n",
    ],
)
def test_what_is_no_event_id_of_this_session_and_this_store_is_no_position(event_id: str):
    assert read_position(event_id.format(birth=base36(BIRTH), other=base36(BIRTH + 1)), TAG, ((BIRTH, 0),)) is None


def test_an_offset_that_its_owner_wrote_and_the_store_has_lost_is_no_position():
    eras = ((BIRTH, 0), (BIRTH + 5, 2), (BIRTH + 9, 4))  # the first owner's third event is not there: the second began after two
    read = [[read_position(id_prefix(TAG, epoch, "g") + base36(offset), TAG, eras) for offset in range(6)] for epoch, _ in eras]
    assert [[position is not None for position in era] for era in read] == [
        [True, True, True, False, False, False],
        [True, True, True, True, True, False],
        [True] * 6,
    ]
    assert [epoch_of(offset, eras) - BIRTH for offset in range(6)] == [0, 0, 0, 5, 5, 9]


# Recoverable


@pytest.mark.parametrize("seed", range(40))
def test_a_position_is_honoured_if_and_only_if_nothing_after_it_is_missing(seed: int):
    chance = random.Random(seed)
    for _ in range(50):
        log = random_log(chance)
        for stream in log.streams:
            for offset in range(log.head + 3):
                verdict = recoverable(Position(stream, offset), log.tail(stream, offset))
                assert verdict == log.misses_nothing(stream, offset), f"seed {seed}, {log}, stream {stream}, offset {offset}"


@pytest.mark.parametrize("seed", range(20))
def test_a_reader_that_resumes_at_random_moments_sees_every_event_once_or_is_told(seed: int):
    chance = random.Random(1000 + seed)
    log, seen, position, told = LogModel(most=8), list[int](), 0, False
    log.open("x")
    for _ in range(200):
        log.append("x" if chance.random() < 0.6 else "other")
        if chance.random() < 0.15:
            tail = log.tail("x", position)
            if not recoverable(Position("x", position), tail):
                told = True
                break
            seen += [entry.offset for entry in tail.entries]
            position = seen[-1] if seen else 0
    everything = [offset for offset in log.written["x"] if offset <= position]
    assert seen == everything
    if told:
        assert not log.misses_nothing("x", position)


def test_a_stream_that_nobody_ever_opened_is_no_place_to_resume():
    assert not recoverable(Position("x", 0), Tail(head=5, lost=0, newest=None, open=False, entries=()))


def test_a_stream_that_is_open_and_silent_is_resumed_from_its_first_position():
    assert recoverable(Position("x", 0), Tail(head=0, lost=0, newest=None, open=True, entries=()))


def test_a_stream_that_is_not_known_to_be_open_and_has_no_end_is_not_resumed():
    entries = (Entry(3, last=False, stream="x"),)
    assert not recoverable(Position("x", 2), Tail(head=3, lost=0, newest=None, open=False, entries=entries))
