from tests.chart.rendering import render


def test_without_autoscaling_the_chart_sets_the_number_of_pods():
    rendered = render(replicaCount=3)
    assert rendered.one("Deployment")["spec"]["replicas"] == 3
    assert rendered.all("HorizontalPodAutoscaler") == []


def test_with_autoscaling_nobody_else_sets_the_number_of_pods():
    rendered = render(replicaCount=3, autoscaling={"enabled": True})
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_the_autoscaler_aims_at_cpu_and_goes_down_slowly():
    autoscaler = render(autoscaling={"enabled": True, "minReplicas": 3, "maxReplicas": 5}).one("HorizontalPodAutoscaler")
    spec = autoscaler["spec"]
    assert autoscaler["apiVersion"] == "autoscaling/v2"
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-moorage"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 5)
    assert spec["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]
    assert spec["behavior"]["scaleUp"] == {"stabilizationWindowSeconds": 0}
    assert spec["behavior"]["scaleDown"] == {
        "stabilizationWindowSeconds": 600,
        "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
    }
