from tests.chart.rendering import INGRESS, render

SERVICE_NAMES = ["web-moorage", "web-moorage.prod", "web-moorage.prod.svc", "web-moorage.prod.svc.cluster.local"]


def test_the_services_names_are_allowed_hosts():
    assert render().config["security"]["allowed_hosts"] == SERVICE_NAMES


def test_the_ingress_hosts_are_allowed_hosts_beside_those_that_are_set():
    config = render(ingress=INGRESS, config={"security": {"allowed_hosts": ["mcp.internal", "mcp.example.com"]}}).config
    assert config["security"]["allowed_hosts"] == ["mcp.internal", "mcp.example.com", *SERVICE_NAMES]


def test_hosts_of_an_ingress_that_is_off_are_not_allowed():
    assert render(ingress={**INGRESS, "enabled": False}).config["security"]["allowed_hosts"] == SERVICE_NAMES


def test_settings_are_written_as_they_are_set():
    settings = {
        "http": {"max_body_bytes": 104857600, "body_timeout_seconds": 2.5},
        "security": {"allowed_origins": ["https://a.example.com"]},
    }
    config = render(config=settings).config
    assert config["http"] == settings["http"]
    assert config["security"]["allowed_origins"] == ["https://a.example.com"]


def test_callers_are_anonymous_only_when_keys_are_off():
    assert render().config["security"]["allow_anonymous"] is False
    assert render(auth={"enabled": False}).config["security"]["allow_anonymous"] is True


def test_the_service_is_told_how_many_pods_there_may_be():
    assert render().config["server"]["replicas"] == 1
    assert render(replicaCount=3).config["server"]["replicas"] == 3
    assert render(replicaCount=3, autoscaling={"enabled": True, "maxReplicas": 7}).config["server"]["replicas"] == 7
    assert render(replicaCount=0).config["server"]["replicas"] == 1


def test_the_file_is_where_the_service_looks_and_follows_changes():
    rendered = render()
    assert rendered.env["MOORAGE_CONFIG"] == "/etc/moorage/config.yaml"
    (mount,) = (mount for mount in rendered.container["volumeMounts"] if mount["name"] == "config")
    assert mount == {"name": "config", "mountPath": "/etc/moorage", "readOnly": True}
