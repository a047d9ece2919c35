"""The ways in which the target is served, and what clients have to be able to do in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.clients import everyday, losses
from tests.clients.features import MODERN, Feature

_OLDER: Final = ("2025-06-18", "2025-11-25")
_NO_SESSIONS: Final = {MODERN: "no sessions in this revision"}
_NO_POSITIONS: Final = {MODERN: "no resumption in this revision"}
_RESUMED: Final[Mapping[str, str]] = dict.fromkeys(_OLDER, "the call is resumed instead")
_NEEDS_STORE: Final[Mapping[str, str]] = dict.fromkeys(_OLDER, "a reply has to reach the process that asked: needs a store")


@dataclass(frozen=True, slots=True)
class Mode:
    """One way of serving.

    Attributes:
        settings: Of every replica.
    """

    name: str
    description: str
    replicas: int
    store: bool
    features: tuple[Feature, ...]
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


MODES: Final = (
    Mode(
        "store",
        "three replicas behind a round robin, with Redis",
        replicas=3,
        store=True,
        features=(
            Feature("handshake", everyday.handshake),
            Feature("calls", everyday.calls),
            Feature("progress", everyday.progress),
            Feature("elicitation", everyday.elicitation),
            Feature("sampling", everyday.sampling),
            Feature("cancellation", everyday.cancellation),
            Feature("error in a stream", everyday.error_in_a_stream),
            Feature("list-changed notices", everyday.notices),
            Feature("session end", everyday.session_end, _NO_SESSIONS),
            Feature("session lost", everyday.session_lost, _NO_SESSIONS),
            Feature("network cut, result resumed", losses.cut, _NO_POSITIONS, at_once=False),
            Feature("SIGKILL, result resumed", losses.killed, _NO_POSITIONS),
            Feature("two SIGKILLs, result resumed", losses.killed_twice, _NO_POSITIONS, at_once=False),
            Feature("SIGKILL, outcome unknown", losses.outcome_unknown, _NO_POSITIONS),
            Feature("SIGKILL, asked again", losses.asked_again, _NO_POSITIONS),
            Feature("SIGKILL, answered late", losses.answered_late, _NO_POSITIONS),
            Feature("SIGKILL, notices kept", losses.notices_kept, _NO_POSITIONS),
            Feature("SIGKILL, told at once", losses.told_at_once, _RESUMED, at_once=False),
            Feature("SIGKILL, next call served", losses.served_elsewhere, _RESUMED, at_once=False),
            Feature("rolling update", losses.rolling_update, _NO_SESSIONS),
        ),
    ),
    Mode(
        "short",
        "two replicas behind a round robin, with Redis, streams ended after a second",
        replicas=2,
        store=True,
        features=(Feature("streams that end for their age", losses.several_lives, _NO_POSITIONS),),
        settings={"SESSIONS__STREAM_MAX_AGE_SECONDS": "1"},
    ),
    Mode(
        "alone",
        "two replicas behind a round robin, sharing a sealing key alone",
        replicas=2,
        store=False,
        features=(
            Feature("handshake", everyday.handshake),
            Feature("calls", everyday.calls),
            Feature("progress", everyday.progress),
            Feature("elicitation", everyday.elicitation, _NEEDS_STORE),
            Feature("sampling", everyday.sampling, _NEEDS_STORE),
            Feature("every replica replaced", losses.restarted),
        ),
    ),
)
