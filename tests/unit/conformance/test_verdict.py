"""What a run of the official suite is worth: the counting, without the suite."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from tests.conformance import __main__ as program
from tests.conformance import modes, suite
from tests.conformance.modes import MODES

SINGLE = MODES[0]
GOOD = suite.Report(
    passed=tuple(f"scenario-{number}" for number in range(SINGLE.must_pass)),
    failed=("tasks-lifecycle",),
    warned=(),
    unchecked=("scenario-1",),
    unexpected=(),
    stale=(),
    accepted=True,
    output="what the suite printed",
)


def test_expected_failures_are_no_surprise():
    assert program.surprises(SINGLE, GOOD) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unexpected": ("ping",), "accepted": False}, "ping is not as it should be, and not in expected-failures-single.yaml"),
        ({"stale": ("tasks-lifecycle",), "accepted": False}, "tasks-lifecycle is in expected-failures-single.yaml, and passes"),
        ({"accepted": False}, "the suite is not content"),
        ({"passed": GOOD.passed[1:]}, f"{SINGLE.must_pass - 1} scenarios pass, and {SINGLE.must_pass} have to"),
    ],
    ids=["another fails", "a listed one passes", "the suite says so", "some did not run"],
)
def test_whatever_is_not_as_expected_is_counted_and_named(change: dict[str, object], says: str):
    [surprise] = program.surprises(SINGLE, dataclasses.replace(GOOD, **change))  # type: ignore[arg-type]
    assert surprise.startswith(says)


def test_the_summary_tells_scenarios_apart_that_checked_nothing(capsys: pytest.CaptureFixture[str]):
    program.tell(SINGLE, GOOD)
    assert capsys.readouterr().out.splitlines()[-1].startswith("  56 of 57 scenarios pass, 55 of them with checks of their own that ran;")


def test_an_unknown_mode_is_refused_and_the_known_ones_are_named(capsys: pytest.CaptureFixture[str]):
    assert program.main(["sticky"]) == 2
    assert capsys.readouterr().err == "conformance: no mode is called sticky; there are single, store, stateless\n"


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_every_mode_has_its_list_and_together_they_make_up_the_suite(mode: modes.Mode):
    listed = yaml.safe_load(mode.expected_failures.read_text())["server"]
    recommended = ("server-sse-polling", "server-stateless")  # of which only recommended checks fail
    scenarios = {entry.split(":")[0] for entry in listed if not entry.startswith(recommended)}
    assert len(scenarios) + mode.must_pass == 65
    assert Path(mode.expected_failures).read_text().count("#") > 2
