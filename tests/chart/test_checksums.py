from typing import Any

from tests.chart.rendering import SERVING, merged, render


def annotations(**values: Any) -> dict[str, str]:
    return render(**values).pod["metadata"]["annotations"]


def test_a_changed_setting_rolls_the_pods():
    assert annotations()["checksum/config"] != annotations(config={"logs": {"level": "debug"}})["checksum/config"]


def test_a_changed_ingress_host_rolls_the_pods_as_it_changes_the_allowed_hosts():
    ingress = {"enabled": True, "hosts": ["a.example.com"], "tls": {"secretName": "certificate"}}
    assert annotations()["checksum/config"] != annotations(ingress=ingress)["checksum/config"]


def test_a_changed_tool_rolls_the_pods():
    changed = merged(SERVING, {"tools": {"files": {"server.py": "changed"}}})
    assert annotations()["checksum/tools"] != annotations(**changed)["checksum/tools"]


def test_what_changes_no_file_rolls_nothing():
    assert annotations() == annotations(replicaCount=3, podDisruptionBudget={"enabled": False}, service={"port": 81})


def test_scaling_rolls_nothing_though_pods_are_told_how_many_they_are():
    few, many = render(replicaCount=1), render(replicaCount=5)
    assert (few.config["server"]["replicas"], many.config["server"]["replicas"]) == (1, 5)
    assert few.pod == many.pod


def test_a_key_that_is_made_anew_at_each_rendering_rolls_nothing():
    assert annotations() == annotations(service={"port": 82})


def test_annotations_of_ones_own_stand_beside():
    assert annotations(podAnnotations={"a": "b"})["a"] == "b"
