"""The command line of the kit: one verb a call, one line for what went wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.kit import images, keda, lifecycle
from tests.cluster.kit.install import install, lock
from tests.cluster.kit.layout import BIN, KUBECONFIG, LOGS
from tests.cluster.kit.shell import KitError, say

USAGE = """A real one-node Kubernetes on this machine, as root, without Docker and without systemd.

  cluster install                    build and fetch every tool (20 minutes on 2 cores the first time, then nothing)
  cluster up                         start it (installs first), print the path of its kubeconfig
  cluster down                       stop it and forget its state; what was built stays
  cluster running                    exit 0 when it is up, 3 when it is not
  cluster status                     what runs, nodes, pods
  cluster env                        shell lines: export KUBECONFIG=..., PATH=...
  cluster base-image                 make a stand-in for python:3.13-slim where podman has none, print its name
  cluster valkey-image               the same for Valkey
  cluster build TAG DIR [ARG=V ...]  build DIR's Dockerfile with podman (BASE_IMAGE: the stand-in), load it
  cluster load TAG                   load an image of podman's into the node
  cluster addon keda                 KEDA's operator and metrics API server (11 minutes to build the first time)
  cluster logs NAME                  a component's log

Ingresses of class `traefik` answer on http://127.0.0.1:8080 and https://127.0.0.1:8443.
State lives under $CLUSTER_HOME (default ~/.cache/local-cluster) and /run/local-cluster."""


def run(arguments: list[str]) -> None:
    """Do what one command line says."""
    match arguments:
        case ["install"]:
            install()
        case ["up"]:
            install()
            with lock("up"):
                lifecycle.up()
            print(KUBECONFIG)
        case ["down"]:
            lifecycle.down()
        case ["status"]:
            lifecycle.status()
        case ["env"]:
            print(f"export KUBECONFIG={KUBECONFIG}\nexport PATH={BIN}:$PATH")
        case ["running"]:
            raise SystemExit(0 if lifecycle.running() else 3)
        case ["base-image"]:
            images.base_image()
            print(images.BASE)
        case ["valkey-image"]:
            images.valkey_image()
            print(images.VALKEY)
        case ["build", tag, directory, *build_arguments]:
            images.base_image()
            images.build(tag, Path(directory), *build_arguments)
            images.load(tag)
        case ["load", tag]:
            images.load(tag)
        case ["addon", "keda"]:
            keda.addon()
        case ["logs", name]:
            if not (LOGS / f"{name}.log").exists():
                raise KitError(f"no log of {name!r}; there are: {', '.join(sorted(p.stem for p in LOGS.glob('*.log'))) or 'none'}")
            print((LOGS / f"{name}.log").read_text(errors="replace")[-20000:])
        case _:
            print(USAGE)
            raise SystemExit(0 if arguments in (["help"], ["--help"], ["-h"]) else 2)


def main(arguments: list[str]) -> None:
    """Run one command; a failure is one line on stderr and exit 1."""
    try:
        run(arguments)
    except KitError as error:
        say(f"error: {error}")
        raise SystemExit(1) from None
    except subprocess.CalledProcessError as error:
        say(f"error: exit {error.returncode} from: {' '.join(map(str, error.cmd))[:400]}")
        raise SystemExit(1) from None
