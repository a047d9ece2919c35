"""The cluster's certificate authority, one certificate a component, and a kubeconfig for each that talks to the API server."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.cluster.kit.layout import API, API_SERVICE_IP, NODE, NODE_IP, PKI, STATE
from tests.cluster.kit.shell import QUIET, sh

DAYS = "30"
EC_KEY = ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out")
SUBJECTS = {
    "server": "/CN=kube-apiserver",
    "admin": "/O=system:masters/CN=admin",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "traefik": "/CN=traefik",
    "coredns": "/CN=coredns",
    "metrics-server": "/CN=metrics-server",
    "front-proxy": "/CN=front-proxy",
}
WITHOUT_KUBECONFIG = ("server", "front-proxy")
NAMES = ",".join(
    ["DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", f"DNS:{NODE}"]
    + [f"IP:{address}" for address in ("127.0.0.1", NODE_IP, API_SERVICE_IP)]
)


def certificates() -> None:
    """Make what is not there yet."""
    if (PKI / "complete").exists():
        return
    PKI.mkdir(parents=True, exist_ok=True)
    sh(*EC_KEY, PKI / "ca.key")
    sh("openssl", "req", "-x509", "-new", "-key", PKI / "ca.key", "-subj", "/CN=local-cluster", "-days", DAYS, "-out", PKI / "ca.crt")
    sh("openssl", "genrsa", "-out", PKI / "sa.key", "2048", **QUIET)
    for name, subject in SUBJECTS.items():
        _sign(name, subject)
        if name not in WITHOUT_KUBECONFIG:
            _kubeconfig(name)
    (PKI / "complete").touch()


def _sign(name: str, subject: str) -> None:
    key, request, extensions = (PKI / f"{name}.{suffix}" for suffix in ("key", "csr", "ext"))
    sh(*EC_KEY, key)
    sh("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request)
    extensions.write_text(f"subjectAltName={NAMES}\nextendedKeyUsage=serverAuth,clientAuth\n")
    authority = ("-CA", PKI / "ca.crt", "-CAkey", PKI / "ca.key", "-CAcreateserial")
    sh("openssl", "x509", "-req", "-in", request, *authority, "-days", DAYS, "-extfile", extensions, "-out", PKI / f"{name}.crt", **QUIET)


def _kubeconfig(name: str) -> None:
    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    user = {"client-certificate-data": data(PKI / f"{name}.crt"), "client-key-data": data(PKI / f"{name}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": {"server": API, "certificate-authority-data": data(PKI / "ca.crt")}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": name}}],
    }
    path = STATE / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
