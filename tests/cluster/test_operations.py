"""What an operator does with a release: look at it, test it, upgrade it, scale it, take it away."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import anyio
import pytest

from tests.cluster.authority import Authority
from tests.cluster.caller import caller, published
from tests.cluster.conftest import Open
from tests.cluster.load import Load, until
from tests.cluster.release import Release, image_values
from tests.cluster.target import ROOT, Target

pytestmark = pytest.mark.anyio
CALLERS = 6
README_VALUES = ROOT / "examples" / "values" / "quickstart.yaml"
README_HOST = "mcp.example.com"


def test_three_replicas_are_available(release: Release) -> None:
    (deployment,) = release.objects("deployments")
    assert deployment["status"]["availableReplicas"] == 3


def test_every_probe_answers_in_every_pod(release: Release) -> None:
    for pod in release.pod_names():
        proxy = f"/api/v1/namespaces/{release.name}/pods/{pod}:9090/proxy"
        for probe in ("livez", "readyz", "startupz"):
            release.target.ask("kubectl", "get", "--raw", f"{proxy}/{probe}")
        assert set(json.loads(release.target.ask("kubectl", "get", "--raw", f"{proxy}/version"))) >= {"moorage", "mcp", "python"}
        assert "mcp_server_operation_duration" in release.target.ask("kubectl", "get", "--raw", f"{proxy}/metrics")


def test_the_pods_are_admitted_as_restricted_and_hold_no_token(release: Release) -> None:
    for pod in release.pods():
        assert pod["spec"]["automountServiceAccountToken"] is False
        security = pod["spec"]["containers"][0]["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"]["drop"] == ["ALL"]
    namespace = json.loads(release.target.ask("kubectl", "get", "namespace", release.name, "--output=json"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_network_policy_selects_the_servers_pods(release: Release) -> None:
    (policy,) = [p for p in release.objects("networkpolicies") if "Egress" in p["spec"]["policyTypes"]]
    selector = ",".join(f"{key}={value}" for key, value in policy["spec"]["podSelector"]["matchLabels"].items())
    selected = {pod["metadata"]["name"] for pod in release.objects("pods", selector)}
    assert selected >= release.pod_names()


def test_helm_test_makes_a_call_in_both_eras(release: Release) -> None:
    said = release.target.ask("helm", "test", release.name, "--namespace", release.name, "--logs", "--timeout", "120s")
    assert "Succeeded" in said
    assert "2026-07-28" in said
    assert "2025-11-25" in said


async def test_an_upgrade_under_load_fails_no_call(
    release: Release, values: Sequence[str], open_caller: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    before, token, load = release.pod_names(), release.token(), Load()
    upgrade = release.helm_arguments("upgrade", *values, "--set", "config.http.ping_seconds=7")
    with anyio.fail_after(280):
        async with anyio.create_task_group() as tasks:
            for _ in range(CALLERS):
                tasks.start_soon(load.keep_calling, open_caller)
            await load.reaches(100)
            await anyio.to_thread.run_sync(lambda: release.target.ask("helm", *upgrade))
            for pod in before:
                await anyio.to_thread.run_sync(release.kubectl, "wait", "--for=delete", f"pod/{pod}", "--timeout=90s")
            await load.reaches(100)
            load.over = True
    with capsys.disabled():
        print(f"\n  {load.done} calls during the upgrade, {len(load.failures)} failed")
    assert load.failures == []
    assert release.token() == token
    after = release.pod_names()
    assert len(after) == 3
    assert not after & before
    (settings,) = [m for m in release.objects("configmaps") if "config.yaml" in m.get("data", {})]
    assert "ping_seconds: 7" in settings["data"]["config.yaml"]


@pytest.fixture(scope="module")
def small(target: Target, authority: Authority) -> Iterator[Release]:
    """The release of the README: its values file and its command as they stand there."""
    small = Release(target, "small")
    small.delete_namespace()
    small.create_namespace()
    signed = authority.sign(README_HOST)
    small.create_tls_secret("mcp-example-com-tls", signed.certificate, signed.key)
    small.install("--values", str(README_VALUES), *image_values(target.image))
    yield small
    small.delete_namespace()


async def test_the_readmes_values_file_serves_its_tools_at_its_hostname(small: Release, target: Target, authority: Authority) -> None:
    await published(target, authority, README_HOST)
    async with caller(target.ingress, authority.trust(), README_HOST, small.token()) as client:
        assert await client.call("add", a=1, b=2) == 3
    assert "Succeeded" in small.target.ask("helm", "test", small.name, "--namespace", small.name, "--timeout", "120s")
    notes = small.target.ask("helm", "get", "notes", small.name, "--namespace", small.name)
    assert f"https://{README_HOST}/mcp" in notes


async def test_an_autoscaler_acts_on_live_metrics_and_an_uninstall_leaves_nothing(small: Release) -> None:
    """In this order on one release; both wait on what the cluster's controllers do."""
    scaling = ["--set", "autoscaling.enabled=true", "--set", "autoscaling.minReplicas=2", "--set", "autoscaling.maxReplicas=3"]
    small.target.ask("helm", *small.helm_arguments("upgrade", "--reuse-values", *scaling))
    cpu = "{.status.currentMetrics[0].resource.current.averageUtilization}"
    small.kubectl("wait", "hpa", "--all", f"--for=jsonpath={cpu}", "--timeout=120s")
    shown = small.kubectl("get", "hpa", "--no-headers")
    assert "cpu: " in shown
    assert "<unknown>" not in shown
    (autoscaler,) = small.objects("hpa")
    assert {c["type"]: c["status"] for c in autoscaler["status"]["conditions"]}["ScalingActive"] == "True"
    await until(lambda: small.objects("deployments")[0]["status"].get("availableReplicas", 0) >= 2)

    small.target.ask("helm", "uninstall", small.name, "--namespace", small.name, "--wait", "--timeout", "120s")
    of_the_namespace = {"serviceaccount/default", "configmap/kube-root-ca.crt", "secret/mcp-example-com-tls"}
    await until(lambda: small.everything() == of_the_namespace)
