from ipaddress import ip_address, ip_network

from tests.chart.rendering import render

MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
RESOLVERS = [
    {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    },
    {"ipBlock": {"cidr": "169.254.20.10/32"}},
]
DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}], "to": RESOLVERS}
METADATA4 = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192")
METADATA6 = (
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd00:c1::a9fe:a9fe",
    "fd20:ce::254",
    "fd00:42::42",
    "fd00:100::100:200",
    "fd00:a9fe:a9fe::1",
)
"""The addresses at which clouds tell a machine, a task or a pod who it is."""


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
    blocks = {ip_network(peer["ipBlock"]["cidr"]): map(ip_network, peer["ipBlock"]["except"]) for peer in everything["to"]}
    assert [str(block) for block in blocks] == ["0.0.0.0/0", "::/0"]
    kept = [exception for exceptions in blocks.values() for exception in exceptions]
    assert [address for address in (*METADATA4, *METADATA6) if not any(ip_address(address) in exception for exception in kept)] == []
    for address in ("8.8.8.8", "10.0.0.1", "100.64.0.1", "2001:4860::1", "fd00:1::1"):
        assert not any(ip_address(address) in exception for exception in kept)


def test_names_are_asked_for_where_it_is_said_and_nowhere_else():
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}
    rendered = render(networkPolicy={"dns": {"to": [peer], "ports": [5353]}, "egress": []})
    ports = [{"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"}]
    assert rendered.one("NetworkPolicy")["spec"]["egress"] == [{"ports": ports, "to": [peer]}]


def test_without_a_resolver_no_port_is_open_for_names():
    assert not render(networkPolicy={"dns": {"to": []}, "egress": []}).one("NetworkPolicy")["spec"].get("egress")


def test_egress_can_be_narrowed_to_dns_and_what_is_named():
    rule = {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443, "protocol": "TCP"}]}
    assert render(networkPolicy={"egress": [rule]}).one("NetworkPolicy")["spec"]["egress"] == [DNS, rule]
    assert render(networkPolicy={"egress": []}).one("NetworkPolicy")["spec"]["egress"] == [DNS]


def test_it_holds_for_the_servers_and_can_be_left_out():
    rendered = render()
    assert rendered.one("NetworkPolicy")["spec"]["podSelector"] == rendered.one("Deployment")["spec"]["selector"]
    assert render(networkPolicy={"enabled": False}).all("NetworkPolicy") == []
