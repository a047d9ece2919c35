"""Pod security `restricted`, field by field, for every pod that the chart makes."""

from typing import Any

import pytest

from tests.chart.rendering import render


def pods() -> dict[str, dict[str, Any]]:
    rendered = render(store={"valkey": {"enabled": True}})
    valkey = rendered.one("StatefulSet")["spec"]["template"]
    return {"server": rendered.pod["spec"], "test": rendered.one("Pod", "web-moorage-test")["spec"], "valkey": valkey["spec"]}


@pytest.fixture(params=["server", "test", "valkey"])
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    return pods()[request.param]


def test_it_never_runs_as_root(spec: dict[str, Any]):
    assert spec["securityContext"]["runAsNonRoot"] is True


def test_our_image_names_its_user_so_that_a_platform_may_put_its_own():
    assert "runAsUser" not in pods()["server"]["securityContext"]


def test_the_user_of_valkey_is_named_as_its_image_names_none():
    context = pods()["valkey"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (999, 999, 999)


def test_it_has_the_runtimes_seccomp_profile(spec: dict[str, Any]):
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_no_container_can_gain_privileges_or_has_capabilities(spec: dict[str, Any]):
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def test_it_shares_nothing_with_its_node(spec: dict[str, Any]):
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
    assert not [port for container in spec["containers"] for port in container.get("ports", []) if "hostPort" in port]


def test_its_volumes_are_of_the_kinds_that_are_allowed(spec: dict[str, Any]):
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "secret", "emptyDir", "projected", "downwardAPI"}


def test_it_has_no_token_and_bounded_memory(spec: dict[str, Any]):
    assert spec["automountServiceAccountToken"] is False
    assert all("memory" in container["resources"]["limits"] for container in spec["containers"])


def test_the_server_can_write_to_tmp_alone():
    rendered = render()
    writable = [mount["mountPath"] for mount in rendered.container["volumeMounts"] if not mount.get("readOnly")]
    (tmp,) = (volume for volume in rendered.pod["spec"]["volumes"] if volume["name"] == "tmp")
    assert writable == ["/tmp"]
    assert tmp["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Mi"}
