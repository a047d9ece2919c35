from typing import Any

import pytest

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
    assert annotations(replicaCount=2) == annotations(replicaCount=3, podDisruptionBudget={"enabled": False}, service={"port": 81})


@pytest.mark.parametrize(
    ("few", "many", "store"),
    [(2, 5, {}), (1, 5, {"existingSecret": {"name": "team-redis"}}), (1, 5, {"valkey": {"enabled": True}})],
    ids=["without a store", "with a store", "with a trial store"],
)
def test_scaling_rolls_nothing_though_pods_are_told_how_many_they_are(few: int, many: int, store: dict[str, Any]):
    before, after = render(replicaCount=few, store=store), render(replicaCount=many, store=store)
    assert (before.config["server"]["replicas"], after.config["server"]["replicas"]) == (few, many)
    assert before.pod == after.pod


def test_a_second_replica_without_a_store_rolls_the_first_as_it_has_to_promise_less():
    assert annotations(replicaCount=1)["checksum/config"] != annotations(replicaCount=2)["checksum/config"]


def test_a_key_that_is_made_anew_at_each_rendering_rolls_nothing():
    assert annotations() == annotations(service={"port": 82})


def test_annotations_of_ones_own_stand_beside():
    assert annotations(podAnnotations={"a": "b"})["a"] == "b"
