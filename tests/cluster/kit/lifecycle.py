"""Up and down, in order, from any state an earlier run left behind."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.cluster.kit import components, images, network, node, processes
from tests.cluster.kit.builds import KUBERNETES
from tests.cluster.kit.certificates import certificates
from tests.cluster.kit.layout import BIN, HERE, KUBECONFIG, NODE, PAUSE, PORTS, RUN, STATE
from tests.cluster.kit.shell import QUIET, KitError, attempt, kubectl, say, wait

ASKING = {"stderr": QUIET["stderr"]}  # the answer while something starts is noise


def running() -> bool:
    """Whether every component runs."""
    return all(processes.alive(name) for name in components.STOP_ORDER)


def up() -> None:
    """Start what does not run; returns when the node is ready and metrics are served.

    Raises:
        KitError: a port is taken by another program, or a component did not come up.
    """
    if STATE.exists() and not (processes.alive("etcd") and processes.alive("containerd")):
        say("clearing what an earlier run left")
        down()
    if not STATE.exists():
        check_ports()
    STATE.mkdir(parents=True, exist_ok=True)
    RUN.mkdir(parents=True, exist_ok=True)
    if not running():
        say(f"starting Kubernetes {KUBERNETES}")
    certificates()
    network.bridge()
    _control_plane()
    _node()
    _addons()
    wait(
        "kubelet",
        lambda: "True" in kubectl("get", "nodes", NODE, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}", **ASKING),
    )
    wait("metrics-server", lambda: kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes", **ASKING))


def _control_plane() -> None:
    components.etcd()
    components.containerd()
    components.api_server()
    wait("kube-apiserver", lambda: kubectl("get", "--raw", "/readyz", **ASKING) == "ok")
    components.controller_manager()
    components.scheduler()


def _node() -> None:
    wait("containerd", node.containerd_answers)
    images.from_binaries(PAUSE, "pause")
    components.kubelet()
    components.kube_proxy()


def _addons() -> None:
    kubectl("apply", "-f", HERE / "addons.yaml")
    components.coredns()
    components.metrics_server()
    components.traefik()


def check_ports() -> None:
    """Refuse to start beside somebody else's listener.

    Raises:
        KitError: naming the port and what it is for.
    """
    for what, port in PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise KitError(
                    f"port {port} is taken by another program and {what} needs it: end that program (ss -ltnp shows it)"
                ) from None


def down() -> None:
    """Stop everything and forget it; also what a run left behind that was killed."""
    if processes.alive("kube-apiserver") and processes.alive("kubelet"):
        attempt(BIN / "kubectl", "--kubeconfig", KUBECONFIG, "delete", "pods", "--all", "-A", "--grace-period=1", "--timeout=30s")
    for name in components.STOP_ORDER:
        if name == "containerd" and processes.alive(name):
            node.remove_tasks()
        processes.stop(name)
    processes.kill_shims()
    if (BIN / "kube-proxy").exists():
        attempt(BIN / "kube-proxy", "--cleanup")
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        target = line.split()[1].replace("\\040", " ")
        if target.startswith((f"{STATE}/", f"{RUN}/")):
            attempt("umount", "-l", target)
    network.remove_bridge()
    shutil.rmtree(STATE, ignore_errors=True)
    shutil.rmtree(RUN, ignore_errors=True)


def status() -> None:
    """Print what runs, the node and the pods."""
    for name in reversed(components.STOP_ORDER):
        pid = processes.alive(name)
        print(f"{name:26} {f'pid {pid}' if pid else 'not running'}")
    if processes.alive("kube-apiserver"):
        print(kubectl("get", "nodes,pods", "-A", "-o", "wide"))
