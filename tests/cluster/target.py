"""The cluster under test as the tests see it: a kubeconfig, an ingress address, an image it can run.

Handed from the runner to pytest through the environment, so that each test can also be run by hand against a cluster that is up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "moorage"
KUBECONFIG = "MOORAGE_TEST_KUBECONFIG"
INGRESS = "MOORAGE_TEST_INGRESS"
INGRESS_CLASS = "MOORAGE_TEST_INGRESS_CLASS"
IMAGE = "MOORAGE_TEST_IMAGE"
VALKEY = "MOORAGE_TEST_VALKEY"
LOAD = "MOORAGE_TEST_LOAD"
READY = "MOORAGE_TEST_READY"
"""Set by the runner when the image is in the cluster; without it pytest collects nothing here."""


@dataclass(frozen=True, slots=True)
class Target:
    """One cluster, reached as its administrator.

    Attributes:
        kubeconfig: How it is reached.
        ingress: Where its ingress controller answers HTTPS.
        ingress_class: The controller's class.
        image: The image under test.
        valkey: An image of Valkey that the cluster can run; empty: the chart's own.
    """

    kubeconfig: Path
    ingress: tuple[str, int]
    ingress_class: str
    image: str
    valkey: str

    @classmethod
    def from_environment(cls) -> Target:
        """Read what the runner has set."""
        host, _, port = os.environ.get(INGRESS, "127.0.0.1:8443").rpartition(":")
        ingress_class, valkey = os.environ.get(INGRESS_CLASS, "traefik"), os.environ.get(VALKEY, "")
        return cls(Path(os.environ[KUBECONFIG]), (host, int(port)), ingress_class, os.environ[IMAGE], valkey)

    def command(self, program: str, *arguments: object) -> list[str]:
        """A command line of kubectl or helm against this cluster."""
        path = shutil.which(program)
        assert path, f"{program} is not on the PATH"
        return [path, "--kubeconfig", str(self.kubeconfig), *map(str, arguments)]

    def run(self, program: str, *arguments: object, stdin: str | None = None, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Run kubectl or helm to its end, whatever the outcome."""
        command = self.command(program, *arguments)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)

    def ask(self, program: str, *arguments: object, stdin: str | None = None, seconds: float = 240) -> str:
        """Run kubectl or helm; a failure is a failed assertion with what the program said."""
        done = self.run(program, *arguments, stdin=stdin, seconds=seconds)
        assert done.returncode == 0, f"{program} {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()
