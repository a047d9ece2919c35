import pytest

from tests.chart.rendering import render


def test_a_rollout_never_takes_a_pod_away_before_its_successor_is_ready():
    strategy = render().one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}


def test_a_new_pod_has_to_stay_ready_before_the_next_one_goes():
    assert render(rollout={"minReadySeconds": 7}).one("Deployment")["spec"]["minReadySeconds"] == 7


def test_the_selector_names_the_servers_alone():
    deployment = render(podLabels={"team": "a"}).one("Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector == {
        "app.kubernetes.io/name": "moorage",
        "app.kubernetes.io/instance": "web",
        "app.kubernetes.io/component": "server",
    }
    assert deployment["spec"]["template"]["metadata"]["labels"] == {**selector, "team": "a"}


def test_a_new_version_of_the_chart_alone_rolls_nothing():
    labels = render().pod["metadata"]["labels"]
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & labels.keys()


@pytest.mark.parametrize(("probe", "path"), [("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")])
def test_each_probe_asks_the_admin_port(probe: str, path: str):
    assert render().container[probe]["httpGet"] == {"path": path, "port": "admin", "scheme": "HTTP"}


def test_probe_timing_can_be_changed_in_part():
    probe = render(probes={"readiness": {"periodSeconds": 9}}).container["readinessProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (9, 2)


def test_the_ports_follow_the_configuration():
    container = render(config={"server": {"port": 8100}, "admin": {"port": 9100}}).container
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [("http", 8100), ("admin", 9100)]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "moorage:0.1.0"),
        ({"tag": "2.0"}, "moorage:2.0"),
        ({"repository": "registry.example.com/tools", "tag": "2.0"}, "registry.example.com/tools:2.0"),
        ({"tag": "2.0", "digest": "sha256:" + "a" * 64}, "moorage@sha256:" + "a" * 64),
    ],
)
def test_the_image_is_named_by_tag_or_by_digest(image: dict[str, str], expected: str):
    assert render(image=image).container["image"] == expected


def test_pods_are_spread_where_that_is_possible():
    constraints = render().pod["spec"]["topologySpreadConstraints"]
    assert [item["topologyKey"] for item in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {item["whenUnsatisfiable"] for item in constraints} == {"ScheduleAnyway"}
    assert "topologySpreadConstraints" not in render(topologySpread={"enabled": False}).pod["spec"]


def test_where_pods_run_is_passed_on():
    wanted = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "mcp", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "priorityClassName": "high",
    }
    spec = render(**wanted).pod["spec"]
    assert {key: spec[key] for key in wanted} == wanted
    assert not wanted.keys() & render().pod["spec"].keys()


def test_resources_have_a_memory_limit_and_no_cpu_limit():
    resources = render().container["resources"]
    assert resources["limits"].keys() == {"memory"}
    assert resources["requests"].keys() == {"cpu", "memory"}


def test_more_volumes_and_mounts_are_added():
    more = {
        "extraVolumes": [{"name": "key", "secret": {"secretName": "tavily"}}],
        "extraVolumeMounts": [{"name": "key", "mountPath": "/etc/tavily", "readOnly": True}],
    }
    rendered = render(**more)
    assert more["extraVolumes"][0] in rendered.pod["spec"]["volumes"]
    assert more["extraVolumeMounts"][0] in rendered.container["volumeMounts"]


def test_a_long_release_name_still_makes_names_that_kubernetes_takes():
    rendered = render(fullnameOverride="a" * 50, store={"valkey": {"enabled": True}})
    names = [thing["metadata"]["name"] for thing in rendered.objects]
    assert max(map(len, names)) == 63
