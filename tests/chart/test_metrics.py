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


def test_the_monitor_selects_the_admin_service_and_not_the_public_one():
    rendered = render(**SCRAPED)
    wanted = rendered.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    selected = [service["metadata"]["name"] for service in rendered.all("Service") if wanted <= service["metadata"]["labels"].items()]
    assert selected == ["web-moorage-admin"]
