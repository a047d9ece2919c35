"""The programs that are built from Go modules, each pinned: by a version here, or by the go.mod and go.sum under ``go/``.

A marker file under ``bin/`` stands for each build that ended well; a new version is a new marker, so it is built and replaces the old.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.kit.layout import BIN, GO_MODULES, HOME
from tests.cluster.kit.shell import KitError, say, sh

GO = (1, 26)
KUBERNETES = "1.37.0"
PLUGINS = "github.com/containernetworking/plugins/plugins"
PACKAGES = {  # what `go install` takes: version
    "github.com/containerd/containerd/v2/cmd/containerd": "v2.3.4",
    "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2": "v2.3.4",
    "github.com/containerd/containerd/v2/cmd/ctr": "v2.3.4",
    f"{PLUGINS}/main/bridge": "v1.9.1",
    f"{PLUGINS}/main/loopback": "v1.9.1",
    f"{PLUGINS}/ipam/host-local": "v1.9.1",
    f"{PLUGINS}/meta/portmap": "v1.9.1",
    "github.com/coredns/coredns": "v1.14.7",
    "sigs.k8s.io/metrics-server/cmd/metrics-server": "v0.9.0",
}


def complete() -> bool:
    """Whether everything has been built, so that no Go is needed."""
    return not _pending() and _marker("kubernetes", KUBERNETES).exists() and (BIN / "pause").exists()


def build_all() -> None:
    """Build what has no marker yet; needs a Go (``check_go``) unless everything is ``complete``."""
    for path, version in _pending().items():
        say(f"building {path}@{version}")
        go_install(f"{path}@{version}")
        _marker(path, version).touch()
    kubernetes = _marker("kubernetes", KUBERNETES)
    if not kubernetes.exists():
        say(f"building Kubernetes {KUBERNETES} and etcd (the long one)")
        go_install("tool", folder=GO_MODULES / "kubernetes", flags=_kubernetes_version())
        build_etcd()
        kubernetes.touch()
    if not (BIN / "pause").exists():
        go_install(".", folder=GO_MODULES / "pause")


def build_etcd() -> None:
    """Its main package is called server/v3; the binary gets the name people know."""
    stage = HOME / "etcd-build"
    go_install("tool", folder=GO_MODULES / "etcd", target=stage)
    binary = next(iter(stage.iterdir()))
    os.replace(binary, BIN / "etcd")
    shutil.rmtree(stage)


def check_go() -> None:
    """Have a Go that is new enough, or that fetches one by itself.

    Raises:
        KitError: naming what was found and what is needed.
    """
    need = ".".join(map(str, GO))
    if not shutil.which("go"):
        raise KitError(f"Go >= {need} is needed to build the cluster's programs and `go` is not on the PATH: install Go")
    asked = subprocess.run(["go", "env", "GOVERSION"], cwd=GO_MODULES / "kubernetes", capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", asked.stdout)
    if not found or tuple(map(int, found.groups())) < GO:
        raise KitError(f"Go >= {need} is needed, this is {asked.stdout.strip() or asked.stderr.strip()}: install a newer Go")


def go_install(what: str, *, folder: Path | None = None, flags: str = "-s -w", target: Path = BIN) -> None:
    """Build static binaries into a folder; what Go says goes to stderr."""
    env = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(target), "GOFLAGS": "-buildvcs=false"}
    sh("go", "install", "-trimpath", "-ldflags", flags, what, cwd=folder, env=env, stdout=sys.stderr)


def _pending() -> dict[str, str]:
    return {path: version for path, version in PACKAGES.items() if not _marker(path, version).exists()}


def _marker(path: str, version: str) -> Path:
    return BIN / f".{path.rsplit('/', 1)[-1]}@{version}"


def _kubernetes_version() -> str:
    """Stamped in, because helm and kubectl ask the API server which version it is."""
    stamp = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.split(".")
    return f"-s -w -X {stamp}.gitVersion=v{KUBERNETES} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
