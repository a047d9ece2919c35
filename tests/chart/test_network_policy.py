from tests.chart.rendering import render

MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def test_the_public_port_is_open_and_the_admin_port_closed():
    spec = render().one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]


def test_the_admin_port_opens_to_those_who_are_named():
    ingress = render(networkPolicy={"adminFrom": [MONITORING]}).one("NetworkPolicy")["spec"]["ingress"]
    assert ingress[1] == {"ports": [{"port": "admin", "protocol": "TCP"}], "from": [MONITORING]}


def test_the_public_port_can_be_closed_to_all_but_some_and_to_helm_test():
    rendered = render(networkPolicy={"httpFrom": [MONITORING]})
    (rule,) = rendered.one("NetworkPolicy")["spec"]["ingress"]
    labels = rendered.one("Pod", "web-moorage-test")["metadata"]["labels"]
    first, test = rule["from"]
    assert first == MONITORING
    assert test["podSelector"]["matchLabels"].items() <= labels.items()


def test_tools_reach_everything_but_the_clouds_metadata_service():
    dns, everything = render().one("NetworkPolicy")["spec"]["egress"]
    assert dns == DNS
    blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in everything["to"]}
    assert blocks == {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fe80::/10", "fd00:ec2::254/128"]}


def test_egress_can_be_narrowed_to_dns_and_what_is_named():
    rule = {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443, "protocol": "TCP"}]}
    assert render(networkPolicy={"egress": [rule]}).one("NetworkPolicy")["spec"]["egress"] == [DNS, rule]
    assert render(networkPolicy={"egress": []}).one("NetworkPolicy")["spec"]["egress"] == [DNS]


def test_it_holds_for_the_servers_and_can_be_left_out():
    rendered = render()
    assert rendered.one("NetworkPolicy")["spec"]["podSelector"] == rendered.one("Deployment")["spec"]["selector"]
    assert render(networkPolicy={"enabled": False}).all("NetworkPolicy") == []
