from tests.chart.rendering import INGRESS, render


def test_there_is_no_ingress_until_it_is_asked_for():
    assert render().all("Ingress") == []


def test_each_host_is_routed_to_the_service_and_served_over_tls():
    spec = render(ingress={**INGRESS, "className": "traefik", "hosts": ["a.example.com", "b.example.com"]}).one("Ingress")["spec"]
    backend = {"service": {"name": "web-moorage", "port": {"name": "http"}}}
    assert spec["ingressClassName"] == "traefik"
    assert spec["tls"] == [{"hosts": ["a.example.com", "b.example.com"], "secretName": "certificate"}]
    assert spec["rules"] == [
        {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
        for host in ("a.example.com", "b.example.com")
    ]


def test_the_clusters_default_class_is_left_to_the_cluster():
    assert "ingressClassName" not in render(ingress=INGRESS).one("Ingress")["spec"]


def test_cert_manager_is_asked_by_annotation_and_fills_a_secret_of_the_chart():
    ingress = render(ingress={**INGRESS, "tls": {"clusterIssuer": "letsencrypt"}, "annotations": {"a": "b"}}).one("Ingress")
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt", "a": "b"}
    assert ingress["spec"]["tls"][0]["secretName"] == "web-moorage-tls"
    issuer = render(ingress={**INGRESS, "tls": {"issuer": "local"}}).one("Ingress")
    assert issuer["metadata"]["annotations"] == {"cert-manager.io/issuer": "local"}


def test_tls_can_be_left_to_what_stands_in_front():
    ingress = render(ingress={**INGRESS, "tls": {"enabled": False}}).one("Ingress")
    assert "tls" not in ingress["spec"]
