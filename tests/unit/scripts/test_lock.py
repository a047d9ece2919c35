"""A lock holds versions and hashes, every package under each name that another one asks for it by, and no address."""

from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lock import LOCKS, Lock, faults, with_extras

ENTRY = "anyio==4.12.0 ; sys_platform == 'linux' \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n    # via mcp\n"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_the_locks_in_the_repository_hold_no_address(lock: Lock) -> None:
    text = lock.path.read_text()
    assert list(faults(lock.name, text)) == []
    assert text.count("==") > 3


def test_a_pinned_entry_is_fine() -> None:
    assert list(faults("run.txt", ENTRY + "\nlogfire[asgi]==1 --hash=sha256:00\n")) == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "-i packages.example",
        "--extra-index-url=packages.example",
        "--find-links wheels",
        "--trusted-host packages.example",
        "anyio @ https://packages.example/anyio.whl --hash=sha256:00",
        "anyio @ file:///tmp/anyio --hash=sha256:00",
        "anyio==1 --hash=sha256:00  # from https://packages.example",
    ],
)
def test_an_address_is_refused(line: str) -> None:
    [fault] = faults("run.txt", ENTRY + line + "\n")
    assert fault.startswith("run.txt: this line names an address")


@pytest.mark.parametrize("line", ["anyio==1", "anyio>=1 --hash=sha256:00", "-e .", "-r other.txt", "./anyio.whl --hash=sha256:00"])
def test_what_is_not_pinned_is_refused(line: str) -> None:
    [fault] = faults("run.txt", ENTRY + line + "\n")
    assert fault.startswith("run.txt: this line is not pinned")


def test_what_runs_is_a_part_of_what_is_developed_with() -> None:
    def pins(name: str) -> set[str]:
        text = next(lock for lock in LOCKS if lock.name == name).path.read_text()
        return {line.split(" ")[0] for line in text.splitlines() if "==" in line and line[0].isalpha()}

    assert pins("requirements/run.txt") <= pins("requirements/dev.txt")


def test_a_package_stands_once_more_with_each_set_of_extras_that_is_wanted_of_it() -> None:
    other = "mcp==2 \\\n    --hash=sha256:02\n"
    hashes = ENTRY.removeprefix("anyio")
    assert with_extras(ENTRY + other, {"anyio": ["test", "test,trio"]}) == ENTRY + f"anyio[test]{hashes}anyio[test,trio]{hashes}" + other


def test_a_lock_that_is_written_again_has_no_extras_that_nobody_wants_any_more() -> None:
    assert with_extras(with_extras(ENTRY, {"anyio": ["trio"]}), {}) == ENTRY


@pytest.mark.parametrize("name", ["requirements/run.txt", "requirements/dev.txt"])
def test_every_package_that_is_installed_finds_what_it_asks_for_in_the_lock_with_the_extras_that_it_asks_for(name: str) -> None:
    text = next(lock for lock in LOCKS if lock.name == name).path.read_text()
    locked = {line.partition("==")[0] for line in text.splitlines() if "==" in line and line[0].isalpha()}
    installed = {canonicalize_name(distribution.name) for distribution in metadata.distributions()}  # not all are for this Python
    wanted: set[str] = set()
    for entry in locked:
        package, _, extras = entry.rstrip("]").partition("[")
        for line in (package in installed and metadata.requires(package)) or ():
            requirement = Requirement(line)
            if requirement.extras and any(_applies(requirement, extra) for extra in ("", *extras.split(","))):
                wanted.add(f"{canonicalize_name(requirement.name)}[{','.join(sorted(requirement.extras))}]")
    assert "pyjwt[crypto]" in wanted
    assert wanted <= locked


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
