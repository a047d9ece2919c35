"""What must not be served, through the ingress and by the chart itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.authority import Authority
from tests.cluster.caller import caller, published
from tests.cluster.conftest import Open
from tests.cluster.release import Release
from tests.cluster.target import CHART, Target

pytestmark = pytest.mark.anyio


async def test_a_call_without_a_key_is_challenged(open_caller: Open) -> None:
    async with open_caller(token=None) as stranger:
        answer = await stranger.http.send(stranger.call_request("add", a=1, b=2))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "error=" not in answer.headers["www-authenticate"]


async def test_a_call_with_a_wrong_key_is_told_so(open_caller: Open) -> None:
    async with open_caller(token="moor_" + "x" * 40) as stranger:
        answer = await stranger.http.send(stranger.call_request("add", a=1, b=2))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_legacy_session_needs_a_key_too(open_caller: Open) -> None:
    async with open_caller(token=None) as stranger:
        client = {"name": "stranger", "version": "1"}
        answer = await stranger.legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
    assert answer.status_code == 401
    assert "mcp-session-id" not in answer.headers


@pytest.fixture
def stray(release: Release, authority: Authority) -> Iterator[str]:
    """A second name that an ingress leads to the Service, and that nobody told the service about."""
    host = "stray.test"
    (service,) = release.objects("services")
    signed = authority.sign(host)
    release.create_tls_secret("stray-tls", signed.certificate, signed.key)
    backend = {"service": {"name": service["metadata"]["name"], "port": {"name": "http"}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec = {"ingressClassName": release.target.ingress_class, "tls": [{"hosts": [host], "secretName": "stray-tls"}], "rules": [rule]}
    metadata = {"name": "stray", "namespace": release.name}
    release.apply({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec})
    yield host
    release.kubectl("delete", "ingress/stray", "secret/stray-tls")


async def test_a_host_that_is_not_allowed_is_misdirected(target: Target, authority: Authority, token: str, stray: str) -> None:
    await published(target, authority, stray)
    async with caller(target.ingress, authority.trust(), stray, token) as one:
        answer = await one.http.send(one.call_request("add", a=1, b=2))
    assert answer.status_code == 421


async def test_a_foreign_origin_is_forbidden(open_caller: Open) -> None:
    async with open_caller() as browser:
        request = browser.call_request("add", a=1, b=2)
        request.headers["origin"] = "https://evil.example"
        answer = await browser.http.send(request)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("setting", "named"),
    [("replicas=5", "replicas"), ("config.server.prot=1", "prot"), ("config.drain.budget_seconds=0", "budget_seconds")],
)
def test_a_value_that_the_schema_does_not_know_is_refused_by_name(target: Target, setting: str, named: str) -> None:
    refused = target.run("helm", "install", "refused", str(CHART), "--namespace", "refused", "--set", setting)
    assert refused.returncode != 0
    assert named in refused.stderr
    assert target.run("kubectl", "get", "namespace", "refused").returncode != 0


async def test_the_admin_port_is_not_reachable_through_the_ingress(open_caller: Open) -> None:
    async with open_caller() as one:
        for path in ("/metrics", "/readyz", "/livez", "/version"):
            assert (await one.http.get(path)).status_code == 404
