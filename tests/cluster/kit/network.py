"""The node's network: the bridge that pods hang on, the plugin configuration, the cluster's name server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.kit.layout import NODE_IP, POD_CIDR, SERVICE_CIDR, STATE
from tests.cluster.kit.shell import KitError, attempt, sh, write

BRIDGE = "cni0"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def bridge() -> None:
    """Create the bridge and let packets pass through this machine.

    Raises:
        KitError: the kernel forwards no packets and does not let itself be told to.
    """
    attempt("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    attempt("sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=1")  # absent without br_netfilter, where it is not needed either
    if FORWARDING.read_text().strip() != "1":
        raise KitError("net.ipv4.ip_forward is 0 and cannot be set here: pods would reach nothing. Set it, then try again")
    if not attempt("ip", "link", "show", BRIDGE):
        sh("ip", "link", "add", BRIDGE, "type", "bridge")
        sh("ip", "addr", "add", f"{NODE_IP}/24", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        sh("ip", "route", "add", SERVICE_CIDR, "dev", BRIDGE)  # a Service without rules leads nowhere, never off this machine


def remove_bridge() -> None:
    """Take the bridge away, with its addresses and routes."""
    attempt("ip", "link", "del", BRIDGE)


def plugin_configuration() -> Path:
    """The folder with containerd's network configuration."""
    folder = STATE / "cni"
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(STATE / "ipam"),
    }
    pods = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    write(folder / "10-pods.conflist", json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [pods, ports]}))
    return folder


def name_server_configuration() -> Path:
    """CoreDNS: the cluster's names from the API server, all others from this machine's resolver."""
    return write(
        STATE / "Corefile",
        f""".:53 {{
  bind {NODE_IP}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {STATE}/coredns.kubeconfig local
    pods insecure
  }}
  cache 5
  forward . /etc/resolv.conf
  reload
}}
""",
    )
