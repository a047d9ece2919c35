from typing import Any

import pytest

from moorage.settings import StoreSettings
from tests.chart.rendering import Rendered, render, render_as, upgraded

OWN: dict[str, Any] = {"existingSecret": {"name": "team-redis", "key": "address"}}
TRIAL: dict[str, Any] = {"valkey": {"enabled": True}}


def told(rendered: Rendered) -> dict[str, Any]:
    """What a pod is told of the store and the relay."""
    return {name: value for name, value in rendered.env.items() if name.startswith(("MOORAGE_STORE__", "MOORAGE_RELAY__"))}


def prefix(release: str, namespace: str, **values: Any) -> str:
    """What the keys of a release begin with."""
    return render_as(release, namespace, {"fullnameOverride": "web-moorage", **values}).config["store"]["prefix"]


def test_without_a_store_nothing_speaks_of_one():
    rendered = render(replicaCount=3)
    assert told(rendered) == {}
    assert not {"store", "store-ca"} & (rendered.volumes.keys() | rendered.mounts.keys())
    assert [port["name"] for port in rendered.container["ports"]] == ["http", "admin"]
    assert rendered.all("StatefulSet") == []


def test_the_url_is_read_from_a_file_of_a_secret_of_ones_own():
    rendered = render(store=OWN)
    assert told(rendered)["MOORAGE_STORE__URL_FILE"] == "/etc/moorage-store/url"
    assert rendered.mounts["store"] == {"name": "store", "mountPath": "/etc/moorage-store", "readOnly": True}
    assert rendered.volumes["store"]["secret"] == {"secretName": "team-redis", "items": [{"key": "address", "path": "url"}]}


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"configMap": "ca"}, {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}),
        ({"secret": "ca", "key": "root"}, {"secret": {"secretName": "ca", "items": [{"key": "root", "path": "ca.crt"}]}}),
    ],
)
def test_certificates_of_ones_own_come_from_a_configmap_or_a_secret(given: dict[str, str], source: dict[str, Any]):
    rendered = render(store={**OWN, "ca": given})
    assert told(rendered)["MOORAGE_STORE__CA_FILE"] == "/etc/moorage-store-ca/ca.crt"
    assert rendered.mounts["store-ca"] == {"name": "store-ca", "mountPath": "/etc/moorage-store-ca", "readOnly": True}
    assert rendered.volumes["store-ca"] == {"name": "store-ca", **source}


def test_the_systems_certificates_are_the_default():
    assert "MOORAGE_STORE__CA_FILE" not in told(render(store=OWN))


def test_a_changed_url_or_certificate_rolls_the_pods_as_both_are_read_at_the_start():
    def annotations(url: str, certificate: str) -> dict[str, str]:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "team-redis"}, "data": {"address": url}}
        ca = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": certificate}}
        return upgraded(secret, ca, store={**OWN, "ca": {"configMap": "ca"}}).pod["metadata"]["annotations"]

    before = annotations("a", "a")
    assert annotations("b", "a")["checksum/store"] != before["checksum/store"]
    assert annotations("a", "b")["checksum/store-ca"] != before["checksum/store-ca"]
    assert annotations("a", "a") == before


def test_the_trial_valkeys_password_rolls_nothing_as_it_never_changes():
    before = render(store=TRIAL)
    after = upgraded(*before.all("Secret"), store=TRIAL)
    assert after.pod["metadata"]["annotations"] == before.pod["metadata"]["annotations"]


# ---------------------------------------------------------------- its keys


@pytest.mark.parametrize("store", [OWN, TRIAL], ids=["own", "trial"])
def test_releases_that_share_a_store_share_none_of_its_keys(store: dict[str, Any]):
    names = [("web", "prod"), ("web", "stage"), ("api", "prod"), ("web", "n" * 63), ("web", "n" * 62), ("w" * 53, "n" * 63)]
    prefixes = [prefix(release, namespace, store=store) for release, namespace in names]
    assert prefixes[:2] == ["moorage:prod:web", "moorage:stage:web"]
    assert len(set(prefixes)) == len(names)
    for each in prefixes:
        assert StoreSettings(prefix=each).prefix.startswith("moorage:")
    assert prefix(*names[-1], store=store) == prefixes[-1], "an upgrade finds what was there"


def test_keys_that_are_named_stay():
    assert render(store=OWN, config={"store": {"prefix": "team"}}).config["store"] == {"prefix": "team"}
    assert render(store=OWN, config={"store": {"timeout_seconds": 5}}).config["store"] == {
        "prefix": "moorage:prod:web",
        "timeout_seconds": 5,
    }


def test_without_a_store_no_keys_are_named():
    assert "store" not in render().config


# ---------------------------------------------------------------- the relay


def test_replicas_reach_each_other_at_the_address_of_their_pod():
    rendered = render(store=OWN)
    assert told(rendered)["MOORAGE_RELAY__HOST"] == "0.0.0.0"
    assert told(rendered)["MOORAGE_RELAY__ADVERTISE"]["fieldRef"]["fieldPath"] == "status.podIP"


def test_in_a_cluster_of_ipv6_the_door_is_of_that_family():
    assert told(render(store=OWN, config={"server": {"host": "::"}}))["MOORAGE_RELAY__HOST"] == "::"


@pytest.mark.parametrize(
    ("config", "ports"),
    [
        ({}, {"relay": 9191}),
        ({"relay": {"port": 7000}}, {"relay": 7000}),
        ({"server": {"workers": 3}}, {"relay": 9191, "relay-2": 9192, "relay-3": 9193}),
    ],
)
def test_each_worker_has_a_door_of_its_own(config: dict[str, Any], ports: dict[str, int]):
    shown = {port["name"]: port["containerPort"] for port in render(store=TRIAL, config=config).container["ports"]}
    assert shown == {"http": 8000, "admin": 9090, **ports}


@pytest.mark.parametrize("store", [OWN, TRIAL], ids=["own", "trial"])
def test_only_pods_of_this_release_reach_the_door_whatever_else_may_go_out(store: dict[str, Any]):
    rendered = render(store=store, config={"server": {"workers": 3}}, networkPolicy={"egress": [], "httpFrom": [{"podSelector": {}}]})
    spec = rendered.one("NetworkPolicy", "web-moorage")["spec"]
    pods = [{"podSelector": rendered.one("Deployment")["spec"]["selector"]}]
    doors = [{"port": 9191, "endPort": 9193, "protocol": "TCP"}]
    assert spec["ingress"][1:] == [{"ports": doors, "from": pods}]
    assert spec["egress"][1] == {"ports": doors, "to": pods}


def test_one_worker_has_one_door():
    spec = render(store=OWN).one("NetworkPolicy", "web-moorage")["spec"]
    assert spec["ingress"][1]["ports"] == [{"port": 9191, "protocol": "TCP"}]


def test_no_service_leads_to_the_door():
    rendered = render(store=TRIAL)
    targets = {port["targetPort"] for service in rendered.all("Service") for port in service["spec"]["ports"]}
    assert targets == {"http", "valkey"}
