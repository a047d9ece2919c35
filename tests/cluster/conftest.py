"""What the cluster tests share: one release with three replicas behind TLS, and callers outside the cluster.

Without ``MOORAGE_TEST_READY`` nothing here is collected: `python -m tests.cluster` prepares the cluster and sets it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest

from tests.cluster import caller as callers
from tests.cluster.authority import Authority
from tests.cluster.caller import Caller
from tests.cluster.release import Release, image_values
from tests.cluster.target import READY, Target

HERE = Path(__file__).resolve().parent
HOST = "mcp.test"
Open = Callable[..., AbstractAsyncContextManager[Caller]]

if READY not in os.environ:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def target() -> Target:
    return Target.from_environment()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def values(target: Target) -> list[str]:
    """The values of the release under test: what a user writes, no more."""
    return [
        *image_values(target.image),
        *("--set-file", f"tools.files.harbour\\.py={HERE / 'tools' / 'harbour.py'}"),
        *("--set", "replicaCount=3"),
        *("--set", "ingress.enabled=true", "--set", f"ingress.className={target.ingress_class}", "--set", f"ingress.hosts={{{HOST}}}"),
        *("--set", "ingress.tls.secretName=mcp-test-tls"),
    ]


@pytest.fixture(scope="session")
def release(target: Target, authority: Authority, values: list[str]) -> Iterator[Release]:
    """The chart, installed once with three replicas; a failed install shows what the pods say."""
    release = Release(target, "harbour")
    release.delete_namespace()
    release.create_namespace()
    signed = authority.sign(HOST)
    release.create_tls_secret("mcp-test-tls", signed.certificate, signed.key)
    try:
        release.install(*values)
        anyio.run(callers.published, target, authority, HOST)
    except (AssertionError, TimeoutError):
        print(explain(release))
        raise
    yield release
    release.delete_namespace()


def explain(release: Release) -> str:
    """Events and logs, for the reader of a failure."""
    events = release.kubectl("get", "events", "--sort-by=.lastTimestamp")
    logs = release.target.run(
        "kubectl", "-n", release.name, "logs", "--selector", f"app.kubernetes.io/instance={release.name}", "--tail=30", "--prefix"
    )
    return f"{events}\n{logs.stdout}{logs.stderr}"


@pytest.fixture(scope="session")
def token(release: Release) -> str:
    return release.token()


@pytest.fixture
def open_caller(target: Target, authority: Authority, token: str) -> Open:
    """Opens callers with connections and cookies of their own; ``token=None`` has none."""

    def open_one(token: str | None = token, host_header: str | None = None) -> AbstractAsyncContextManager[Caller]:
        return callers.caller(target.ingress, authority.trust(), HOST, token, host_header=host_header)

    return open_one


@pytest.fixture
async def client(open_caller: Open) -> AsyncIterator[Caller]:
    async with open_caller() as one:
        yield one
