"""Builds the image under test: `python -m tests.cluster.image TAG`; `--flags` prints what that takes in MOORAGE_IMAGE_BUILD_FLAGS.

The Dockerfile names a public base image. Where podman neither has nor can pull it, the kit's stand-in takes its place, and that is said.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import yaml

from tests.cluster.target import CHART, ROOT

KIT = ROOT / "tests" / "cluster" / "kit" / "cluster"
FLAGS = "MOORAGE_IMAGE_BUILD_FLAGS"
PULL_SECONDS = 300


def build(tag: str) -> None:
    """Build the project's image with its own script.

    Raises:
        SystemExit: it cannot be built.
    """
    environment = {**os.environ, FLAGS: base_image_flags()}
    if subprocess.run([sys.executable, "-m", "scripts.image", tag], cwd=ROOT, env=environment, check=False).returncode:
        raise SystemExit(f"the image {tag} could not be built")


def base_image_flags() -> str:
    """What the build has to be told of its base image; nothing where the Dockerfile's own can be had."""
    if FLAGS in os.environ:
        return os.environ[FLAGS]
    wanted = re.search(r"^ARG BASE_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    if not wanted:
        raise SystemExit("the Dockerfile has no line `ARG BASE_IMAGE=...` any more: tests/cluster/image.py looks for it")
    if not shutil.which("podman") or _podman("image", "exists", wanted[1]) or _podman("pull", "--quiet", wanted[1]):
        return ""
    return f"--pull=never --build-arg BASE_IMAGE={_stand_in('base-image', wanted[1])}"


def valkey() -> str:
    """An image of Valkey that podman has: the chart's own, or the kit's stand-in where that cannot be pulled."""
    named = yaml.safe_load((CHART / "values.yaml").read_text())["store"]["valkey"]["image"]
    wanted = f"{named['repository']}:{named['tag']}"
    if _podman("image", "exists", wanted) or _podman("pull", "--quiet", wanted):
        return wanted
    return _stand_in("valkey-image", wanted)


def _stand_in(command: str, wanted: str) -> str:
    made = subprocess.run([KIT, command], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        raise SystemExit(f"{wanted} cannot be pulled and no stand-in could be made for it")
    name = made.stdout.strip()
    print(f"cluster tests: {wanted} cannot be pulled here, the stand-in {name} takes its place", file=sys.stderr, flush=True)
    return name


def _podman(*arguments: str) -> bool:
    return subprocess.run(["podman", *arguments], capture_output=True, check=False, timeout=PULL_SECONDS).returncode == 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--flags"]:
            print(base_image_flags())
        case [tag]:
            build(tag)
        case _:
            raise SystemExit("usage: python -m tests.cluster.image TAG | --flags")
