"""docs/tutorials/web-search-agent.md, walked as it is written: its `bash` blocks are typed, its values are rendered."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.chart.rendering import render
from tests.integration.example_servers import ROOT, clean_environ, free_ports, running
from tests.integration.tavily import KEY, Tavily, tavily_api

TUTORIAL = ROOT / "docs/tutorials/web-search-agent.md"
SEARCH = ROOT / "examples/search"


def block(words: str) -> str:
    """The one shell block that holds these words."""
    found = [text for text in re.findall(r"^```(?:bash|sh)\n(.*?)^```$", TUTORIAL.read_text(), re.DOTALL | re.MULTILINE) if words in text]
    assert len(found) == 1, f"{len(found)} blocks hold {words!r}"
    return found[0]


class Reader:
    """Somebody who types what stands in the tutorial, in a home of their own and on ports that are free."""

    def __init__(self, home: Path, tavily: Tavily) -> None:
        self.port, self.admin_port = free_ports(2)
        self.environ = clean_environ() | {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TAVILY_BASE_URL": tavily.url,
            "MOORAGE_SERVER__PORT": str(self.port),
            "MOORAGE_ADMIN__PORT": str(self.admin_port),
        }

    def script(self, text: str, replaced: Mapping[str, str]) -> str:
        for old, new in {"127.0.0.1:8000": f"127.0.0.1:{self.port}", **replaced}.items():
            text = text.replace(old, new)
        return f"set -euo pipefail\n{text}"

    def types(self, text: str, replaced: Mapping[str, str] | None = None) -> str:
        command = ["bash", "-c", self.script(text, replaced or {})]
        done = subprocess.run(command, cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def serves(self, text: str) -> Any:
        return running(["bash", "-c", self.script(text, {"moorage serve": "exec moorage serve"})], self.environ, self.admin_port)


@pytest.fixture(scope="module")
def tavily() -> Iterator[Tavily]:
    with tavily_api() as tavily:
        yield tavily


def events(stream: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data:")) for line in stream.splitlines() if line.startswith("data:")]


def test_the_tutorial_can_be_walked_on_one_machine(tmp_path: Path, tavily: Tavily) -> None:
    reader = Reader(tmp_path, tavily)
    first = block("mkdir -p ~/web-search")
    reader.types(first, {"make setup": ": make setup", "tvly-YOUR-KEY": KEY})

    with reader.serves(block("export TAVILY_API_KEY_FILE=~/web-search/tavily.key\nmoorage serve")):
        seen = events(reader.types(block("curl -N")))
        assert [event["params"]["progress"] for event in seen[:-1]] == list(range(1, 8))
        assert len(seen[-1]["result"]["structuredContent"]["results"]) == 7

    reader.types(block("moorage keys new agent"))
    assert sorted(path.name for path in (tmp_path / "web-search").iterdir()) == ["agent.token", "api-keys", "tavily.key"]

    with reader.serves(block("MOORAGE_SECURITY__API_KEYS_FILE")):
        curl = block("curl -N")
        assert reader.types(curl.replace("curl -N", "curl -s -o /dev/null -w '%{http_code}'")) == "401"
        with_key = curl.replace("curl -N", 'curl -N -H "Authorization: Bearer $(cat ~/web-search/agent.token)"')
        assert len(events(reader.types(with_key))) == 8
        agent = block('--url http://127.0.0.1:8000/mcp --token-file ~/web-search/agent.token \\\n  --model scripted "')
        assert "I found 7 pages:" in reader.types(agent).splitlines()
        parallel = reader.types(block("--parallel 3")).splitlines()
        assert {line[:4] for line in parallel} == {"[1] ", "[2] ", "[3] "}
        assert all(f"[{number}] I found 7 pages:" in parallel for number in (1, 2, 3))


def test_the_values_mount_the_key_ask_callers_for_one_and_publish_the_host() -> None:
    rendered = render(tools=None, **yaml.safe_load((SEARCH / "values.yaml").read_text()))
    assert rendered.env["TAVILY_API_KEY_FILE"] == "/etc/tavily/api-key"
    assert "MOORAGE_TARGET" not in rendered.env, "the image says what it serves"
    mounts = {mount["name"]: mount["mountPath"] for mount in rendered.container["volumeMounts"]}
    assert mounts["tavily"] == "/etc/tavily"
    secrets = {volume["secret"]["secretName"] for volume in rendered.pod["spec"]["volumes"] if "secret" in volume}
    assert secrets == {"tavily", "search-keys", "web-moorage-sealing-keys"}
    assert [secret["metadata"]["name"] for secret in rendered.all("Secret")] == ["web-moorage-sealing-keys"]
    assert rendered.config["security"]["allow_anonymous"] is False
    assert "search.example.com" in rendered.config["security"]["allowed_hosts"]
    assert rendered.one("Ingress")["spec"]["tls"][0]["hosts"] == ["search.example.com"]
    assert rendered.container["image"] == "registry.example.com/search:1"


def test_a_file_that_is_mounted_wins_over_the_one_in_the_image() -> None:
    values = yaml.safe_load((SEARCH / "values.yaml").read_text())
    rendered = render(**{**values, "tools": {"files": {"server.py": (SEARCH / "server.py").read_text()}}})
    assert rendered.env["MOORAGE_TARGET"] == "/srv/tools/server.py"


def test_the_tutorials_secrets_and_release_are_what_the_values_ask_for() -> None:
    secrets, release = block("create secret"), block("helm install")
    assert "generic tavily --from-file=api-key=" in secrets
    assert "generic search-keys --from-file=api-keys=" in secrets
    assert "--values examples/search/values.yaml" in release


def pins(path: Path) -> dict[str, str]:
    """Each requirement with its version and hashes."""
    logical = path.read_text().replace("\\\n", " ").splitlines()
    lines = [line for line in logical if line and not line.lstrip().startswith("#")]
    return {line.partition("==")[0]: " ".join(re.findall(r"==\S+|--hash=\S+", line)) for line in lines}


def test_the_images_requirements_are_those_of_the_tests_and_none_that_moorage_holds() -> None:
    own, tested, held = pins(SEARCH / "requirements.txt"), pins(ROOT / "requirements/dev.txt"), pins(ROOT / "requirements/run.txt")
    assert own == {name: tested[name] for name in own}
    assert not own.keys() & held.keys()
    assert needed("tavily-python") - held.keys() == own.keys()


def needed(name: str) -> set[str]:
    """A distribution and everything it needs, in the environment of the tests."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if current in found:
            continue
        found.add(current)
        for text in importlib.metadata.requires(current) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found
