from tests.chart.rendering import render

SCRAPED = {
    "metrics": {"serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}}},
    "networkPolicy": {"adminFrom": [{"podSelector": {}}]},
}


def test_no_service_leads_to_the_admin_port_until_it_is_scraped():
    assert [service["metadata"]["name"] for service in render().all("Service")] == ["web-moorage"]
    assert render().all("ServiceMonitor") == []


def test_a_monitor_scrapes_the_admin_port_of_every_pod():
    rendered = render(**SCRAPED)
    monitor, service = rendered.one("ServiceMonitor"), rendered.one("Service", "web-moorage-admin")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"] == [{"port": "admin", "path": "/metrics", "interval": "15s"}]
    assert service["spec"]["clusterIP"] == "None"
    assert [(port["name"], port["targetPort"]) for port in service["spec"]["ports"]] == [("admin", "admin")]


def test_the_admin_port_answers_to_the_names_of_its_service():
    names = ["web-moorage-admin", "web-moorage-admin.prod", "web-moorage-admin.prod.svc", "web-moorage-admin.prod.svc.cluster.local"]
    assert render(**SCRAPED).config["admin"]["allowed_hosts"] == names
    assert render(**SCRAPED, config={"admin": {"allowed_hosts": ["api.example.com"]}}).config["admin"]["allowed_hosts"] == [
        "api.example.com",
        *names,
    ]
    assert render().config["admin"]["allowed_hosts"] == []


def test_the_monitor_selects_the_admin_service_and_not_the_public_one():
    rendered = render(**SCRAPED)
    wanted = rendered.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    selected = [service["metadata"]["name"] for service in rendered.all("Service") if wanted <= service["metadata"]["labels"].items()]
    assert selected == ["web-moorage-admin"]
