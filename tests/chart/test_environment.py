from pathlib import Path

import pytest
import yaml

from moorage.settings_sources import load_settings
from tests.chart.rendering import Rendered, render


def test_the_pod_knows_who_it_is():
    fields = {name: source["fieldRef"]["fieldPath"] for name, source in render().env.items() if isinstance(source, dict)}
    assert fields == {
        "MOORAGE_POD_NAME": "metadata.name",
        "MOORAGE_POD_NAMESPACE": "metadata.namespace",
        "MOORAGE_POD_UID": "metadata.uid",
        "MOORAGE_NODE_NAME": "spec.nodeName",
    }


def test_nothing_is_exported_until_an_endpoint_is_named():
    assert not [name for name in render().env if name.startswith("OTEL_")]


def test_an_otlp_endpoint_its_headers_and_attributes_are_passed_on():
    env = render(
        otel={
            "endpoint": "http://collector:4318",
            "headersSecret": {"name": "otel"},
            "resourceAttributes": {"deployment.environment.name": "production", "team": "a"},
        }
    ).env
    assert {name: value for name, value in env.items() if name.startswith("OTEL_")} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": {"secretKeyRef": {"name": "otel", "key": "headers"}},
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=production,team=a",
    }


def test_more_variables_are_added():
    rendered = render(extraEnv=[{"name": "A", "value": "1"}], extraEnvFrom=[{"secretRef": {"name": "tavily"}}])
    assert rendered.env["A"] == "1"
    assert rendered.container["envFrom"] == [{"secretRef": {"name": "tavily"}}]


def test_services_of_the_namespace_are_not_spelled_out_in_the_environment():
    assert render().pod["spec"]["enableServiceLinks"] is False


def everything() -> Rendered:
    return render(
        config={"http": {"max_in_flight": 7}, "security": {"allowed_origins": ["https://app.example.com"]}, "server": {"workers": 2}},
        store={"existingSecret": {"name": "team-redis"}, "ca": {"secret": "ca"}},
        replicaCount=3,
        ingress={"enabled": True, "hosts": ["mcp.example.com"], "tls": {"secretName": "certificate"}},
        otel={"endpoint": "http://collector:4318"},
    )


@pytest.mark.parametrize("rendered", [render(), everything(), render(auth={"enabled": False})], ids=["default", "everything", "open"])
def test_the_service_accepts_what_the_chart_gives_it(rendered: Rendered, tmp_path: Path):
    texts = {
        "MOORAGE_CONFIG": yaml.safe_dump(rendered.config),
        "MOORAGE_SECURITY__API_KEYS_FILE": "default:" + "a" * 64 + "\n",
        "MOORAGE_SECURITY__SEALING_KEYS_FILE": render().secret("web-moorage-sealing-keys")["sealing-keys"],
        "MOORAGE_STORE__URL_FILE": "redis+tls://user:password@redis.example.com:6379/0\n",
    }
    files = {name: tmp_path / name for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    env = {name: value if isinstance(value, str) else "from-the-pod" for name, value in rendered.env.items()}
    env |= {name: str(file) for name, file in files.items() if name in env}
    settings = load_settings(environ=env).settings
    assert settings.target == "/srv/tools/server.py"
    assert settings.server.host == settings.admin.host == "0.0.0.0"
    assert list(settings.security.allowed_hosts) == rendered.config["security"]["allowed_hosts"]
    assert settings.security.sealing_keys_file == str(files["MOORAGE_SECURITY__SEALING_KEYS_FILE"])
    assert settings.server.replicas == rendered.config["server"]["replicas"]
    assert settings.store.configured == ("store" in rendered.volumes)
