"""Builds the container image: `python -m scripts.image TAG`.

Owns which builder is used and what it is told: podman, else docker, whichever answers. MOORAGE_IMAGE_BUILD_FLAGS adds flags (for
another base image: `--build-arg BASE_IMAGE=...`). Where SSL_CERT_FILE names a certificate bundle, the build trusts it too, and none of it
stays in the image.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(tag: str) -> None:
    """Build the image as `tag`.

    Raises:
        SystemExit: There is no builder, or it failed.
    """
    engine = builder()
    flags = shlex.split(os.environ.get("MOORAGE_IMAGE_BUILD_FLAGS", ""))
    command = [engine, "build", *network(engine), *certificates(), *versions(), *flags, "--tag", tag, str(ROOT)]
    print("image:", shlex.join(command), file=sys.stderr)
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"image: {engine} could not build {tag}")


def builder() -> str:
    """The first builder that answers: a docker command without its daemon does not count."""
    for engine in ("podman", "docker"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True, check=False, timeout=60).returncode == 0:
            return engine
    raise SystemExit("image: neither podman nor docker works here; install one of them (`podman info` has to succeed)")


def network(engine: str) -> list[str]:
    """Podman's build containers get no network of their own: it needs plug-ins that small machines lack."""
    return ["--network=host"] if engine == "podman" else []


def certificates() -> list[str]:
    """Lend the build this machine's certificate bundle, where it has one of its own."""
    bundle = os.environ.get("SSL_CERT_FILE", "")
    return [f"--secret=id=ca,src={bundle}"] if os.path.isfile(bundle) else []


def versions() -> list[str]:
    """What the image's labels say: the version in the source and the commit."""
    source = (ROOT / "service" / "moorage" / "__init__.py").read_text()
    version = re.search(r'__version__[^=]*= "([^"]+)"', source)
    revision = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    known = {"VERSION": version[1] if version else "", "REVISION": revision}
    return [f"--build-arg={name}={value}" for name, value in known.items() if value]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m scripts.image TAG")
    build(sys.argv[1])
