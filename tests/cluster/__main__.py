"""`python -m tests.cluster`: prepares a cluster and an image, then runs the tests of this folder; arguments go to pytest.

The cluster is the one of MOORAGE_TEST_KUBECONFIG, else the kit's own, which is left as it was found: up or down. The image is built here
unless MOORAGE_TEST_IMAGE names one. Nothing is ever skipped: what is missing is one line and exit 1. docs/testing.md lists the variables.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import tools
from tests.cluster import image
from tests.cluster.image import KIT
from tests.cluster.kit.layout import BIN
from tests.cluster.target import IMAGE, INGRESS, INGRESS_CLASS, KUBECONFIG, LOAD, READY, ROOT, VALKEY

TAG = "localhost/moorage:test"
LOAD_SECONDS = 600


def main(arguments: list[str]) -> int:
    """Prepare, run, tidy up; returns pytest's exit code."""
    with given_cluster() if os.environ.get(KUBECONFIG) else kit_cluster():
        os.environ[READY] = "1"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-vv",
            "-p",
            "no:randomly",
            "--durations=5",
            "--timeout=300",
            str(ROOT / "tests" / "cluster"),
        ]
        return subprocess.run([*command, *arguments], cwd=ROOT, check=False).returncode


@contextmanager
def kit_cluster() -> Iterator[None]:
    """The kit's cluster: started if it is down, and then stopped again."""
    was_up = subprocess.run([sys.executable, KIT, "running"], check=False).returncode == 0
    kit("install")
    put_on_path(BIN)
    if IMAGE not in os.environ:
        os.environ[IMAGE] = TAG
        image.build(TAG)
    os.environ.setdefault(VALKEY, image.valkey())
    try:
        os.environ[KUBECONFIG] = kit("up")
        kit("load", os.environ[IMAGE])
        kit("load", os.environ[VALKEY])
        os.environ.update({INGRESS: "127.0.0.1:8443", INGRESS_CLASS: "traefik"})
        yield
    finally:
        if not was_up:
            kit("down")


@contextmanager
def given_cluster() -> Iterator[None]:
    """A cluster of the user's: it has the image, or a command of the user's loads it."""
    kubeconfig = Path(os.environ[KUBECONFIG])
    if not kubeconfig.is_file():
        raise SystemExit(f"{KUBECONFIG}={kubeconfig}: there is no such file")
    for program in (tools.helm(), tools.kubectl()):
        put_on_path(Path(program).parent)
    if IMAGE not in os.environ:
        load = os.environ.get(LOAD)
        if not load:
            raise SystemExit(
                f"{KUBECONFIG} needs {IMAGE}=NAME:TAG, which the cluster can pull, or {LOAD}='COMMAND \"$IMAGE\"', which brings it there"
            )
        os.environ[IMAGE] = TAG
        image.build(TAG)
        if subprocess.run(["sh", "-c", load], env={**os.environ, "IMAGE": TAG}, check=False, timeout=LOAD_SECONDS).returncode:
            raise SystemExit(f"{LOAD} failed: {load}")
    yield


def kit(*arguments: str) -> str:
    """Run the kit's command and return what it printed; its words to the user pass through."""
    done = subprocess.run([sys.executable, KIT, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the cluster tests need a cluster and `cluster {' '.join(arguments)}` failed, see above")
    return done.stdout.strip()


def put_on_path(folder: Path) -> None:
    """Let this folder's programs be found first."""
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is taken down then, too
    raise SystemExit(main(sys.argv[1:]))
