import pytest

from tests.chart.rendering import refusal, render


@pytest.mark.parametrize(
    ("pre_stop", "budget", "grace"),
    [(10, 20, 40), (0, 1, 11), (30, 600, 640), (15, 2.5, 28)],
)
def test_the_grace_period_is_the_pre_stop_sleep_the_budget_and_ten(pre_stop: int, budget: float, grace: int):
    rendered = render(drain={"preStopSeconds": pre_stop}, config={"drain": {"budget_seconds": budget}})
    assert rendered.pod["spec"]["terminationGracePeriodSeconds"] == grace
    assert rendered.config["drain"]["budget_seconds"] == budget


def test_the_sleep_is_the_kubelets_own():
    assert render(drain={"preStopSeconds": 12}).container["lifecycle"] == {"preStop": {"sleep": {"seconds": 12}}}


def test_no_sleep_no_hook():
    assert "lifecycle" not in render(drain={"preStopSeconds": 0}).container


@pytest.mark.parametrize("grace", [40, 3600])
def test_a_longer_grace_period_is_taken(grace: int):
    assert render(drain={"gracePeriodSeconds": grace}).pod["spec"]["terminationGracePeriodSeconds"] == grace


def test_a_grace_period_that_a_drain_does_not_fit_into_is_refused():
    said = refusal(drain={"gracePeriodSeconds": 39})
    assert "drain.gracePeriodSeconds is 39, and a drain takes 40" in said
    assert "drain.preStopSeconds 10 + config.drain.budget_seconds 20 + 10" in said
