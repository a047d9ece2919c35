"""The stand-in for the base image carries the Python that the Dockerfile asks for, and its name, which every log shows, says which."""

import re
from pathlib import Path

import pytest

from scripts.pythons import SUPPORTED
from tests.cluster.kit import images
from tests.cluster.kit.shell import KitError

DOCKERFILE = Path(__file__).resolve().parents[3] / "Dockerfile"


def minor(image: str) -> str:
    found = re.search(r"/python:(\d+\.\d+)-", image)
    assert found, image
    return found[1]


def test_it_is_named_after_the_python_of_the_dockerfile():
    wanted = re.search(r"^ARG BASE_IMAGE=(\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert wanted
    assert minor(images.BASE) == minor(wanted[1])
    assert minor(images.BASE) in SUPPORTED


def test_it_is_not_made_where_debian_has_another_python(tmp_path: Path):
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3.99").touch()
    with pytest.raises(KitError, match=rf"has no python{minor(images.BASE)} any more"):
        images._lay_out_python(tmp_path)


def test_its_label_says_which_release_of_it(tmp_path: Path):
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    packages = {"python3-minimal": "3.0.0-1", "python3": "3.13.5-1", "zlib1g": "1:1.3-1"}
    entries = "\n".join(f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n" for name, version in packages.items())
    (tmp_path / "var/lib/dpkg/status").write_text(entries)
    assert images.installed(tmp_path, "python3") == packages["python3"]
    with pytest.raises(KitError, match="no package python4"):
        images.installed(tmp_path, "python4")
