from tests.chart.rendering import INGRESS, render

STICKY = "traefik.ingress.kubernetes.io/service.sticky.cookie"


def test_the_service_leads_to_the_public_port_of_the_servers_alone():
    rendered = render(service={"port": 8080})
    spec = rendered.one("Service")["spec"]
    assert spec["selector"] == rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(8080, "http")]


def test_an_ingress_asks_traefik_for_a_sticky_cookie():
    annotations = render(ingress=INGRESS).one("Service")["metadata"]["annotations"]
    assert annotations == {
        STICKY: "true",
        f"{STICKY}.name": "moorage",
        f"{STICKY}.secure": "true",
        f"{STICKY}.httponly": "true",
        f"{STICKY}.samesite": "lax",
    }


def test_a_cookie_over_plain_http_is_not_marked_secure():
    annotations = render(ingress={**INGRESS, "tls": {"enabled": False}}).one("Service")["metadata"]["annotations"]
    assert annotations[f"{STICKY}.secure"] == "false"


def test_without_ingress_or_by_wish_there_is_no_cookie():
    for values in ({}, {"ingress": {**INGRESS, "stickyCookie": {"enabled": False}}}):
        assert "annotations" not in render(**values).one("Service")["metadata"]


def test_annotations_of_ones_own_win():
    service = render(ingress=INGRESS, service={"annotations": {f"{STICKY}.samesite": "none", "a": "b"}}).one("Service")
    assert service["metadata"]["annotations"][f"{STICKY}.samesite"] == "none"
    assert service["metadata"]["annotations"]["a"] == "b"
