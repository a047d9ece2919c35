"""The seconds between SIGTERM and exit are shared out, and the shares never exceed the whole."""

import pytest

from moorage.lifecycle.budget import Budget
from moorage.settings import DrainSettings


@pytest.mark.parametrize("seconds", [1, 5, 20, 600])
def test_every_part_of_the_end_has_its_share_of_the_budget(seconds: float) -> None:
    budget = Budget.of(DrainSettings(budget_seconds=seconds))
    assert budget.serving + budget.connections + budget.flushing < seconds
    assert budget.finishing + budget.cancelling <= budget.serving
    assert min(budget.finishing, budget.cancelling, budget.connections, budget.flushing) > 0


def test_settling_takes_from_the_calls_and_not_from_the_end() -> None:
    patient, settling = Budget.of(DrainSettings(budget_seconds=20)), Budget.of(DrainSettings(budget_seconds=20, settle_seconds=5))
    assert settling.finishing == patient.finishing - 5
    assert settling.flushing == patient.flushing
