"""The pod of `helm test`, and the program in it, run against a real server."""

import os
import subprocess
import sys

import pytest

from tests.chart.rendering import CHART, ROOT, render
from tests.chart.serving import Server, serving

TOKEN = "moor_" + "t" * 40
PROGRAM = CHART / "files" / "call_mcp.py"


def call(server: Server, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(server.port), **environ}
    return subprocess.run([sys.executable, str(PROGRAM)], env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def guarded():
    with serving(ROOT / "examples" / "quickstart" / "server.py", token=TOKEN) as server:
        yield server


def test_it_calls_in_both_eras_and_prints_what_it_saw(guarded: Server):
    done = call(guarded, AUTH="true", TOKEN=TOKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "ok   without a key: 401, WWW-Authenticate: Bearer",
        "ok   2026-07-28 server/discover: 200",
        "ok   2026-07-28 tools/list: 200",
        "ok   2025-11-25 initialize: 200",
        "ok   2025-11-25 tools/list: 200",
    ):
        assert line in done.stdout
    assert done.stdout.count("tools: add, ") == 2
    assert TOKEN not in done.stdout


def test_without_a_key_it_checks_that_it_is_turned_away(guarded: Server):
    done = call(guarded, AUTH="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing more to try" in done.stdout


def test_a_wrong_key_fails_it(guarded: Server):
    done = call(guarded, AUTH="true", TOKEN="moor_" + "w" * 40)
    assert done.returncode == 1
    assert "FAIL 2026-07-28 server/discover: 401" in done.stdout


def test_a_server_that_asks_nobody_for_a_key_fails_it_where_keys_are_wanted():
    with serving(ROOT / "examples" / "quickstart" / "server.py") as server:
        assert "FAIL without a key: " in call(server, AUTH="true").stdout
        assert call(server, AUTH="false").returncode == 0


def test_a_server_that_is_not_there_fails_it_in_one_line():
    done = call(Server(port=1), AUTH="false")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL http://127.0.0.1:1/mcp: ConnectionRefusedError")
    assert done.stderr == ""


def test_the_pod_runs_the_program_in_the_servers_own_image():
    rendered = render(image={"tag": "2.0"}, service={"port": 81})
    pod = rendered.one("Pod", "web-moorage-test")
    (container,) = pod["spec"]["containers"]
    env = {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}
    assert container["image"] == rendered.container["image"]
    assert rendered.one("ConfigMap", "web-moorage-test")["data"]["call_mcp.py"].strip() == PROGRAM.read_text().strip()
    assert env == {
        "HOST": "web-moorage",
        "PORT": "81",
        "AUTH": "true",
        "TOKEN": {"secretKeyRef": {"name": "web-moorage-api-key", "key": "token"}},
    }


@pytest.mark.parametrize(
    ("values", "token"),
    [
        ({"auth": {"enabled": False}}, None),
        ({"auth": {"existingSecret": "a"}}, None),
        ({"auth": {"existingSecret": "a"}, "tests": {"tokenSecret": {"name": "b", "key": "c"}}}, {"name": "b", "key": "c"}),
    ],
)
def test_it_takes_the_key_from_where_there_is_one(values: dict, token: dict | None):
    (container,) = render(**values).one("Pod", "web-moorage-test")["spec"]["containers"]
    found = [item["valueFrom"]["secretKeyRef"] for item in container["env"] if item["name"] == "TOKEN"]
    assert found == ([token] if token else [])


def test_nothing_of_it_is_part_of_the_release():
    for thing in render().objects:
        if thing["metadata"]["name"].endswith("-test"):
            assert thing["metadata"]["annotations"]["helm.sh/hook"] == "test"
            assert thing["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_no_request_to_the_service_reaches_it():
    rendered = render()
    selector = rendered.one("Service")["spec"]["selector"].items()
    assert not selector <= rendered.one("Pod", "web-moorage-test")["metadata"]["labels"].items()
