"""How each component is started: one function, one command line.

All listen on this machine alone, except what pods have to reach (the API server, the name server, metrics-server).
"""

from __future__ import annotations

import json

from tests.cluster.kit import network, node
from tests.cluster.kit.layout import (
    API,
    BIN,
    ETCD,
    ETCD_PEER,
    INGRESS_HTTP,
    INGRESS_HTTPS,
    NODE,
    NODE_IP,
    PKI,
    POD_CIDR,
    SERVICE_CIDR,
    STATE,
)
from tests.cluster.kit.processes import start
from tests.cluster.kit.shell import kubectl, write

STOP_ORDER = (
    "traefik",
    "metrics-server",
    "coredns",
    "kube-proxy",
    "kubelet",
    "containerd",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
)


def etcd() -> None:
    """The store; it is thrown away with the cluster, so it need not reach the disk."""
    start(
        "etcd",
        BIN / "etcd",
        f"--data-dir={STATE}/etcd",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=default={ETCD_PEER}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def containerd() -> None:
    """The container runtime."""
    start("containerd", BIN / "containerd", "--config", node.containerd_configuration(), "--log-level", "warn")


def api_server() -> None:
    """The API server, with RBAC, node restriction and the aggregation layer that metrics need."""
    start(
        "kube-apiserver",
        BIN / "kube-apiserver",
        f"--etcd-servers={ETCD}",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={NODE_IP}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--enable-admission-plugins=NodeRestriction",
        "--profiling=false",
        f"--client-ca-file={PKI}/ca.crt",
        f"--tls-cert-file={PKI}/server.crt",
        f"--tls-private-key-file={PKI}/server.key",
        f"--kubelet-client-certificate={PKI}/admin.crt",
        f"--kubelet-client-key={PKI}/admin.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={PKI}/sa.key",
        f"--service-account-signing-key-file={PKI}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--requestheader-client-ca-file={PKI}/ca.crt",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={PKI}/front-proxy.crt",
        f"--proxy-client-key-file={PKI}/front-proxy.key",
        "--enable-aggregator-routing=true",
    )


def controller_manager() -> None:
    """The controllers; autoscalers are looked at every 5 s, so that a test sees one decide."""
    start(
        "kube-controller-manager",
        BIN / "kube-controller-manager",
        f"--kubeconfig={STATE}/controller-manager.kubeconfig",
        f"--root-ca-file={PKI}/ca.crt",
        f"--service-account-private-key-file={PKI}/sa.key",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={POD_CIDR}",
        "--node-cidr-mask-size=24",
        "--leader-elect=false",
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--bind-address=127.0.0.1",
        "--node-monitor-grace-period=20s",
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
    )


def scheduler() -> None:
    """The scheduler."""
    config = f"--kubeconfig={STATE}/scheduler.kubeconfig"
    start("kube-scheduler", BIN / "kube-scheduler", config, "--leader-elect=false", "--bind-address=127.0.0.1")


def kubelet() -> None:
    """The node's agent."""
    start(
        "kubelet",
        BIN / "kubelet",
        f"--config={node.kubelet_configuration()}",
        f"--kubeconfig={STATE}/kubelet.kubeconfig",
        f"--root-dir={STATE}/kubelet",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
        "--v=1",
    )


def kube_proxy() -> None:
    """Services as iptables rules; conntrack's limits are the machine's and stay as they are."""
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": f"{STATE}/proxy.kubeconfig"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "0s"},
    }
    start("kube-proxy", BIN / "kube-proxy", f"--config={write(STATE / 'kube-proxy.yaml', json.dumps(settings))}")


def coredns() -> None:
    """The cluster's name server."""
    start("coredns", BIN / "coredns", "-conf", network.name_server_configuration())


def metrics_server() -> None:
    """Live CPU and memory, measured every 10 s (the shortest it takes)."""
    config = f"{STATE}/metrics-server.kubeconfig"
    start(
        "metrics-server",
        BIN / "metrics-server",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--secure-port=4443",
        f"--cert-dir={STATE}/metrics-certs",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    )


def traefik() -> None:
    """The ingress controller, with its usual settings: nothing here helps streams along."""
    token = kubectl("-n", "kube-system", "create", "token", "traefik", "--duration=240h")
    start(
        "traefik",
        BIN / "traefik",
        f"--entrypoints.web.address={INGRESS_HTTP}",
        f"--entrypoints.websecure.address={INGRESS_HTTPS}",
        "--entrypoints.websecure.http.tls=true",
        "--providers.kubernetesingress=true",
        "--providers.kubernetesingress.ingressclass=traefik",
        f"--providers.kubernetesingress.endpoint={API}",
        f"--providers.kubernetesingress.certauthfilepath={PKI}/ca.crt",
        f"--providers.kubernetesingress.token={token}",
        "--providers.kubernetesingress.throttleduration=200ms",
        "--global.sendanonymoususage=false",
        "--global.checknewversion=false",
        "--log.level=INFO",
    )
