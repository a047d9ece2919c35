"""KEDA, as its project deploys it less the admission webhook; the images hold the binaries built from its Go module."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.cluster.kit import builds, images
from tests.cluster.kit.layout import BIN, GO_MODULES, HOME, KUBECONFIG
from tests.cluster.kit.processes import alive
from tests.cluster.kit.shell import KitError, kubectl, output, say, sh

MODULE = "github.com/kedacore/keda/v2"
SOURCE = GO_MODULES / "keda"
IMAGES = {
    "keda": "ghcr.io/kedacore/keda:main",
    "keda-adapter": "ghcr.io/kedacore/keda-metrics-apiserver:main",
}  # as its manifests name them


def addon() -> None:
    """Build KEDA once, put it into the running cluster and wait until it serves."""
    if not alive("kube-apiserver"):
        raise KitError("the cluster is not up: `cluster up` first")
    if not all((BIN / name).exists() for name in IMAGES):
        _build()
    for binary, tag in IMAGES.items():
        images.from_binaries(tag, binary)
    apply = (BIN / "kubectl", "--kubeconfig", KUBECONFIG, "apply", "--server-side", "-f", "-")
    sh(*apply, input=_manifests(), text=True, stdout=subprocess.DEVNULL)
    for name in ("keda-operator", "keda-metrics-apiserver"):
        kubectl("-n", "keda", "rollout", "status", f"deployment/{name}", "--timeout=180s")


def _build() -> None:
    say("building KEDA")
    builds.check_go()
    stage = HOME / "keda-build"
    builds.go_install("tool", folder=SOURCE, target=stage)
    os.replace(stage / "operator", BIN / "keda")
    os.replace(stage / "adapter", BIN / "keda-adapter")
    shutil.rmtree(stage)


def _manifests() -> str:
    """KEDA's own kustomization out of the Go module."""
    module = output("go", "list", "-m", "-f", "{{.Dir}}", MODULE, cwd=SOURCE)
    manifests = kubectl("kustomize", f"{module}/config/default").replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")
    wanted = [m for m in manifests.split("\n---\n") if "kind: ValidatingWebhookConfiguration" not in m and "name: keda-admission" not in m]
    return "\n---\n".join(wanted)
