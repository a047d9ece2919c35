"""What makes this machine a node: the configuration of containerd and of the kubelet."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.cluster.kit.layout import BIN, CONTAINERD_SOCKET, DNS_IP, PAUSE, PKI, RUN, STATE
from tests.cluster.kit.network import plugin_configuration
from tests.cluster.kit.shell import attempt, environment, sh, write

CTR = (BIN / "ctr", "--address", CONTAINERD_SOCKET, "-n", "k8s.io")


def ctr(*arguments: object) -> None:
    """Talk to containerd in the namespace of Kubernetes."""
    sh(*CTR, *arguments, stdout=subprocess.DEVNULL)


def containerd_answers() -> bool:
    """Whether containerd takes requests."""
    return attempt(BIN / "ctr", "--address", CONTAINERD_SOCKET, "version")


def remove_tasks() -> None:
    """Kill the containers that outlived their pods."""
    listed = subprocess.run([*map(str, CTR), "tasks", "ls", "-q"], capture_output=True, text=True, check=False, timeout=30).stdout.split()
    for task in listed:
        attempt(*CTR, "tasks", "rm", "-f", task)


def containerd_configuration() -> Path:
    """containerd 2 with runc, for a root that may be confined (no AppArmor, no lowering of the OOM score)."""
    runc = shutil.which("runc", path=environment()["PATH"])
    return write(
        STATE / "containerd.toml",
        f"""version = 3
root = "{STATE}/containerd"
state = "{RUN}/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{BIN}"]
    conf_dir = "{plugin_configuration()}"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
""",
    )


def kubelet_configuration() -> Path:
    """A kubelet that never evicts for a full disk of a developer's machine and reports often, so that tests need not wait."""
    write(STATE / "resolv.conf", "nameserver 127.0.0.1\n")
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(PKI / "kubelet.crt"),
        "tlsPrivateKeyFile": str(PKI / "kubelet.key"),
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": str(STATE / "resolv.conf"),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "featureGates": {"KubeletInUserNamespace": True},
        "enforceNodeAllocatable": ["pods"],
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "4s",
        "podLogsDir": str(STATE / "pod-logs"),
        "maxPods": 110,
    }
    return write(STATE / "kubelet.yaml", json.dumps(settings))
