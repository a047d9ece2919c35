import json
import subprocess
from typing import Any

import pytest
import yaml

from scripts import chart, tools
from tests.chart.rendering import ROOT, SERVING, merged, render

FILES: dict[str, Any] = {"tools": {"files": dict.fromkeys(SERVING["tools"]["files"])}}
STORE = merged(
    {"fullnameOverride": "moorage", "store": {"existingSecret": {"name": "moorage-store"}}, **FILES},
    yaml.safe_load((ROOT / "k8s" / "values.yaml").read_text()),
)
"""k8s/values.yaml and a store."""


def named(things: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {thing["name"]: thing for thing in things}


def build(directory: str) -> list[dict]:
    done = subprocess.run([tools.kubectl(), "kustomize", str(ROOT / directory)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_the_base_is_what_the_chart_renders():
    generated = {path.name: text for path, text in chart.kustomize_base()}
    assert {path.name: path.read_text() for path in chart.BASE.iterdir()} == generated


def test_the_base_carries_nothing_of_helm():
    text = "".join(path.read_text() for path in chart.BASE.iterdir() if path.name != "kustomization.yaml")
    lines = [line for line in text.splitlines() if not line.startswith("# Written by")]
    assert not [line for line in lines if "helm" in line.lower()]


def test_a_changed_configuration_rolls_the_pods():
    objects = build("k8s/base")
    (config,) = (thing["metadata"]["name"] for thing in objects if thing["kind"] == "ConfigMap")
    (deployment,) = (thing for thing in objects if thing["kind"] == "Deployment")
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert config.startswith("moorage-")
    assert volumes["config"]["configMap"]["name"] == config


def test_the_overlay_brings_the_tools_the_host_and_the_replicas():
    objects = {(thing["kind"], thing["metadata"]["name"]): thing for thing in build("k8s/overlays/example")}
    deployment = objects["Deployment", "moorage"]
    spec = deployment["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    config = objects["ConfigMap", volumes["config"]["configMap"]["name"]]["data"]["config.yaml"]
    hosts = [rule["host"] for rule in objects["Ingress", "moorage"]["spec"]["rules"]]
    assert deployment["spec"]["replicas"] == 2
    assert spec["containers"][0]["image"] == "registry.example.com/moorage:0.1.0"
    assert objects["ConfigMap", volumes["tools"]["configMap"]["name"]]["data"].keys() == {"server.py"}
    assert set(hosts) <= set(yaml.safe_load(config)["security"]["allowed_hosts"])
    assert {thing["metadata"].get("namespace") for thing in objects.values()} == {"moorage"}


def test_the_store_overlay_is_what_the_chart_renders_with_a_store():
    objects = {thing["kind"]: thing for thing in build("k8s/overlays/store")}
    rendered = render(**STORE)
    container, expected = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0], rendered.container
    for field in ("ports", "volumeMounts"):
        assert named(container[field]) == named(expected[field])
    env = {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}
    assert env == rendered.env
    volumes, wanted = named(objects["Deployment"]["spec"]["template"]["spec"]["volumes"]), rendered.volumes
    assert volumes.keys() == wanted.keys()
    assert [volumes[name] for name in ("store", "sealing-keys", "api-keys")] == [
        wanted[name] for name in ("store", "sealing-keys", "api-keys")
    ]
    assert objects["Deployment"]["spec"]["replicas"] == 3


def test_the_store_overlays_network_policy_lets_the_same_in_and_out_as_the_charts():
    (policy,) = (thing for thing in build("k8s/overlays/store") if thing["kind"] == "NetworkPolicy")
    expected = render(**STORE).one("NetworkPolicy")
    for direction in ("ingress", "egress"):
        rules = sorted(json.dumps(rule, sort_keys=True) for rule in policy["spec"][direction])
        wanted = sorted(json.dumps(rule, sort_keys=True) for rule in expected["spec"][direction])
        assert rules == [rule.replace('"web"', '"moorage"') for rule in wanted], "but for the release's name"


@pytest.mark.parametrize("overlay", ["example", "store"])
def test_an_overlay_tells_the_service_how_many_pods_there_are(overlay: str):
    objects = build(f"k8s/overlays/{overlay}")
    (replicas,) = (thing["spec"]["replicas"] for thing in objects if thing["kind"] == "Deployment")
    (config,) = (thing["data"]["config.yaml"] for thing in objects if "config.yaml" in thing.get("data", {}))
    assert (yaml.safe_load(config)["server"]["replicas"] > 1) == (replicas > 1)


def test_the_overlays_drain_fits_the_bases_grace_period():
    objects = build("k8s/overlays/example")
    (spec,) = (thing["spec"]["template"]["spec"] for thing in objects if thing["kind"] == "Deployment")
    config = yaml.safe_load((ROOT / "k8s/overlays/example/config.yaml").read_text())
    sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= sleep + config["drain"]["budget_seconds"] + 10
