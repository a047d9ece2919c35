from tests.chart.rendering import render


def test_a_node_drain_takes_one_pod_at_a_time_and_is_never_held_up_by_a_broken_one():
    rendered = render()
    spec = rendered.one("PodDisruptionBudget")["spec"]
    assert spec == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": rendered.one("Deployment")["spec"]["selector"],
    }


def test_the_budget_can_be_a_share_or_left_out():
    assert render(podDisruptionBudget={"maxUnavailable": "30%"}).one("PodDisruptionBudget")["spec"]["maxUnavailable"] == "30%"
    assert render(podDisruptionBudget={"enabled": False}).all("PodDisruptionBudget") == []
