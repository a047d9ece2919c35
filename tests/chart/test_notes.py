import json
import re
import shlex
from typing import Any

import pytest

from tests.chart.rendering import INGRESS, notes


def curl(said: str) -> list[str]:
    """The curl command of the notes, as a shell would split it."""
    (command,) = re.findall(r"^  (curl (?:.*\\\n)*.*)$", said, re.MULTILINE)
    return shlex.split(command)


def test_behind_an_ingress_the_notes_print_the_public_url():
    said = notes(ingress=INGRESS)
    assert "MCP endpoint: https://mcp.example.com/mcp" in said
    assert "port-forward" not in said
    assert curl(said)[:3] == ["curl", "-N", "https://mcp.example.com/mcp"]


def test_without_an_ingress_they_say_how_to_reach_it():
    said = notes(service={"port": 8080})
    assert "kubectl --namespace prod port-forward service/web-moorage 8000:8080" in said
    assert curl(said)[2] == "http://127.0.0.1:8000/mcp"


def test_they_say_where_the_key_is():
    said = notes()
    assert "kubectl --namespace prod get secret web-moorage-api-key -o jsonpath='{.data.token}' | base64 -d" in said
    assert "Authorization: Bearer $TOKEN" in curl(said)


def test_the_curl_line_is_a_request_of_the_modern_era():
    command = curl(notes())
    body = json.loads(command[command.index("-d") + 1])
    assert body["method"] == "tools/list"
    assert "Mcp-Method: tools/list" in command
    assert body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


def test_the_python_snippet_compiles_and_connects_with_the_key():
    said = notes()
    (snippet,) = re.findall(r"^  import asyncio.*?^  asyncio\.run\(main\(\)\)$", said, re.MULTILINE | re.DOTALL)
    code = "\n".join(line[2:] for line in snippet.splitlines())
    compile(code, "notes", "exec")
    assert 'connect("http://127.0.0.1:8000/mcp", token=os.environ["TOKEN"])' in code


def test_they_warn_of_what_is_unsafe():
    assert "WARNING" not in notes(ingress=INGRESS)
    open_to_all = notes(auth={"enabled": False})
    assert "WARNING: auth.enabled is false" in open_to_all
    assert "TOKEN" not in open_to_all
    assert "WARNING: ingress.tls.enabled is false" in notes(ingress={**INGRESS, "tls": {"enabled": False}})


@pytest.mark.parametrize("values", [{"replicaCount": 2}, {"autoscaling": {"enabled": True}}], ids=["replicas", "autoscaling"])
def test_with_several_pods_and_no_store_they_warn_of_what_does_not_work(values: dict[str, Any]):
    said = " ".join(notes(**values).split())
    assert "WARNING: more than one pod and no store" in said
    assert "Calls of every protocol revision are answered by every pod" in said
    assert "questions to the client (sampling, elicitation, roots) and their answers, its GET stream, resuming a stream" in said
    assert "store.existingSecret.name, or store.valkey.enabled" in said


def test_with_one_pod_or_a_store_there_is_nothing_to_warn_of():
    assert "more than one pod" not in notes()
    for store in ({"existingSecret": {"name": "team-redis"}}, {"valkey": {"enabled": True}}):
        said = notes(replicaCount=3, store=store)
        assert "WARNING" not in said
        assert "any pod serves any client" in said


def test_they_say_what_a_trial_store_is_worth():
    assert "a restart of it ends every session" in notes(store={"valkey": {"enabled": True}})
    kept = notes(store={"valkey": {"enabled": True, "persistence": {"enabled": True}}})
    assert "for trials: it is one pod." in kept
    assert "for trials" not in notes(store={"existingSecret": {"name": "team-redis"}})


def test_with_hashes_of_ones_own_they_do_not_promise_a_key():
    said = notes(auth={"existingSecret": "team-keys"})
    assert "team-keys" in said
    assert "get secret" not in said
