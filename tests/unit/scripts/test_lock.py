"""A lock holds versions and hashes, and no address."""

import pytest

from scripts.lock import LOCKS, Lock, faults

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
