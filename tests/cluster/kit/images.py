"""Container images without a registry: built by podman, loaded into the node, and stand-ins for public images.

They are Debian's own CPython 3.13 under the paths of the public ``python:3.13-slim``, and Debian's own Valkey.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.kit import carried
from tests.cluster.kit.layout import BIN, CA_BUNDLE, HOME, STATE
from tests.cluster.kit.node import ctr
from tests.cluster.kit.shell import KitError, attempt, say, sh

BASE = "localhost/python:3.13-slim"
DEBIAN_RELEASE = "trixie"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
VALKEY = "localhost/valkey:8"
NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def base_image() -> None:
    """Make the stand-in of Python unless podman has it."""
    with _stand_in(BASE, "python3", *PACKAGES) as root:
        if root:
            shutil.copyfile(CA_BUNDLE, root / CA_BUNDLE.relative_to("/"))
            _lay_out_python(root)


def valkey_image() -> None:
    """Make the stand-in of Valkey unless podman has it."""
    with _stand_in(VALKEY, "valkey-server", "valkey-server", "valkey-tools"):
        pass


@contextmanager
def _stand_in(tag: str, command: str, *packages: str) -> Iterator[Path | None]:
    """An image of some of Debian's packages; in between, its files can be changed. None when podman has it already."""
    if attempt("podman", "image", "exists", tag):
        yield None
        return
    say(f"making the image {tag} from Debian {DEBIAN_RELEASE} (a minute)")
    root = HOME / f"rootfs-{command}"
    shutil.rmtree(root, ignore_errors=True)
    sh("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", DEBIAN_RELEASE, root, stdout=subprocess.DEVNULL)
    for name in NOT_NEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
    yield root
    _import(root, tag, command)
    shutil.rmtree(root)


def _lay_out_python(root: Path) -> None:
    """Put Debian's interpreter where the official image has it, with pip as its project publishes it: Debian's own cannot be upgraded."""
    version = "python" + BASE.split(":")[1].split("-")[0]
    if not (root / "usr/bin" / version).exists():
        raise KitError(f"Debian {DEBIAN_RELEASE} has no {version} any more: the stand-in for {BASE} needs another release")
    for name in ("python", "python3", version):
        (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{version}")
    (root / "usr/lib" / version / "EXTERNALLY-MANAGED").unlink()
    carried.pip_into(root / "usr/local/lib" / version / "dist-packages")
    pip = root / "usr/local/bin/pip"
    pip.write_text('#!/bin/sh\nexec /usr/local/bin/python3 -m pip "$@"\n')
    pip.chmod(0o755)


def _import(root: Path, tag: str, command: str) -> None:
    changes = [
        part
        for change in (
            f"CMD={command}",
            "ENV=PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ENV=LANG=C.UTF-8",
            f"LABEL=org.opencontainers.image.version={installed(root, command)}",
        )
        for part in ("--change", change)
    ]
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        sh("podman", "import", "-q", *changes, "-", tag, stdin=tar.stdout, stdout=subprocess.DEVNULL)
    if tar.returncode:
        raise KitError(f"tar of {root} ended with {tar.returncode}")


def installed(root: Path, package: str) -> str:
    """The version of a package of Debian's under this root, such as `3.13.5-1`."""
    status = (root / "var/lib/dpkg/status").read_text()
    found = re.search(rf"^Package: {re.escape(package)}\n(?:.+\n)*?Version: (.+)$", status, re.MULTILINE)
    if found is None:
        raise KitError(f"there is no package {package} under {root}")
    return found[1]


def build(tag: str, context: Path, *arguments: str) -> None:
    """Build with this machine's network and certificates, from images that are here.

    Args:
        tag: The image's name and tag; podman adds ``localhost/``.
        context: The folder with the Dockerfile.
        arguments: ``NAME=value`` build arguments; ``BASE_IMAGE`` is the stand-in unless they say otherwise.
    """
    if not (context / "Dockerfile").is_file():
        raise KitError(f"no Dockerfile in {context}")
    extra = [part for argument in (f"BASE_IMAGE={BASE}", *arguments) for part in ("--build-arg", argument)]
    certificates = f"--volume={CA_BUNDLE}:{CA_BUNDLE}:ro"
    sh("podman", "build", "--pull=never", "--network=host", certificates, *extra, "-t", tag, context, stdout=sys.stderr)


def load(tag: str) -> None:
    """Copy an image from podman into the node."""
    if not attempt("podman", "image", "exists", tag):
        raise KitError(f"podman has no image {tag!r}: build it first")
    archive = HOME / "image.tar"
    archive.unlink(missing_ok=True)
    sh("podman", "save", "-q", "--format", "docker-archive", "-o", archive, tag, stdout=subprocess.DEVNULL)
    ctr("images", "import", archive)
    archive.unlink()


def from_binaries(tag: str, *binaries: str) -> None:
    """Make an image of static binaries alone (at its root; the first is the entry point) and load it into the node."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for binary in binaries:
            tar.add(BIN / binary, arcname=binary)
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)
    diff_id = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    runtime = {"Entrypoint": [f"/{binaries[0]}"], "User": "65535:65535"}
    config = {"architecture": "amd64", "os": "linux", "config": runtime, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    archive = STATE / "binaries.tar"
    parts = {"config.json": json.dumps(config).encode(), "layer.tar": layer.getvalue(), "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(archive, "w") as tar:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    ctr("images", "import", archive)
    archive.unlink()
