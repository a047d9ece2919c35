"""Where things are and which addresses they have; nothing here does anything.

Pods are 198.18.0.0/24 and Services 198.19.0.0/24: the benchmarking range (RFC 2544), which no network routes.
"""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
GO_MODULES = HERE / "go"

HOME = Path(os.environ.get("CLUSTER_HOME") or Path.home() / ".cache" / "local-cluster")
BIN = HOME / "bin"
STATE = HOME / "state"
PKI = STATE / "pki"
LOGS = STATE / "logs"
RUN = Path("/run/local-cluster")

KUBECONFIG = STATE / "admin.kubeconfig"
CONTAINERD_SOCKET = RUN / "containerd.sock"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

NODE = "node-1"
NODE_IP = "198.18.0.1"
POD_CIDR = "198.18.0.0/24"
SERVICE_CIDR = "198.19.0.0/24"
API_SERVICE_IP = "198.19.0.1"
DNS_IP = "198.19.0.10"

API = "https://127.0.0.1:6443"
ETCD = "http://127.0.0.1:2479"
ETCD_PEER = "http://127.0.0.1:2480"
INGRESS_HTTP = "127.0.0.1:8080"
INGRESS_HTTPS = "127.0.0.1:8443"
PORTS = {"etcd": 2479, "kube-apiserver": 6443, "metrics-server": 4443, "kubelet": 10250, "Traefik (http)": 8080, "Traefik (https)": 8443}

PAUSE = "localhost/pause:1"
