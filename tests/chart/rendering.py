"""Renders the chart with helm and hands out its objects; each set of values is rendered once a run."""

from __future__ import annotations

import base64
import copy
import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts import tools
from tests.chart.found import cluster

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "moorage"
SERVING: dict[str, Any] = {"tools": {"files": {"server.py": "from mcp.server.mcpserver import MCPServer\n\nmcp = MCPServer('chart')\n"}}}
"""The least that the chart accepts."""

INGRESS: dict[str, Any] = {"enabled": True, "hosts": ["mcp.example.com"], "tls": {"secretName": "certificate"}}


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of a release."""

    objects: tuple[dict[str, Any], ...]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        return [thing for thing in self.objects if thing["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """The object of a kind, by its name where there are several."""
        found = [thing for thing in self.all(kind) if name in (None, thing["metadata"]["name"])]
        assert len(found) == 1, f"{kind} {name or ''}: {[thing['metadata']['name'] for thing in self.all(kind)]}"
        return copy.deepcopy(found[0])

    @property
    def pod(self) -> dict[str, Any]:
        """The server's pod template."""
        return self.one("Deployment")["spec"]["template"]

    @property
    def container(self) -> dict[str, Any]:
        """The server's container."""
        (container,) = self.pod["spec"]["containers"]
        return container

    @property
    def env(self) -> dict[str, Any]:
        """The server's environment: name to value, or to where the value comes from."""
        return {item["name"]: item.get("value", item.get("valueFrom")) for item in self.container["env"]}

    @property
    def volumes(self) -> dict[str, Any]:
        """The server's volumes by their name."""
        return {volume["name"]: volume for volume in self.pod["spec"]["volumes"]}

    @property
    def mounts(self) -> dict[str, Any]:
        """Where the server's volumes are mounted, by their name."""
        return {mount["name"]: mount for mount in self.container["volumeMounts"]}

    def secret(self, name: str) -> dict[str, str]:
        """The decoded content of a Secret."""
        return {key: base64.b64decode(value).decode() for key, value in self.one("Secret", name)["data"].items()}

    @property
    def config(self) -> dict[str, Any]:
        """config.yaml."""
        return yaml.safe_load(self.one("ConfigMap", "web-moorage")["data"]["config.yaml"])


def render(**values: Any) -> Rendered:
    """Render a release called web in the namespace prod, with what serves and these values.

    Raises:
        AssertionError: The chart refuses the values.
    """
    return render_as("web", "prod", values)


def render_as(release: str, namespace: str, values: Mapping[str, Any]) -> Rendered:
    """Render a release of another name.

    Raises:
        AssertionError: The chart refuses the values.
    """
    done = _template(json.dumps(merged(SERVING, values)), release, namespace)
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(thing for thing in yaml.safe_load_all(done.stdout) if thing))


def upgraded(*found: Mapping[str, Any], **values: Any) -> Rendered:
    """Render the same release where the cluster holds these objects, as an upgrade finds them.

    Raises:
        AssertionError: The chart refuses the values.
    """
    with cluster(*found) as address, tempfile.TemporaryDirectory() as cache:
        there = ("--kube-apiserver", address, "--kubeconfig", "/dev/null", "--disable-openapi-validation")
        command = ("template", "web", CHART, "--namespace", "prod", "--is-upgrade", "--dry-run=server", *there, "--values", "-")
        done = _helm(*command, values=merged(SERVING, values), environ={"KUBECACHEDIR": cache})
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(thing for thing in yaml.safe_load_all(done.stdout) if thing))


def refusal(*, serving: bool = True, **values: Any) -> str:
    """What the chart says against these values, in one line.

    Raises:
        AssertionError: It accepts them.
    """
    done = _template(json.dumps(merged(SERVING if serving else {}, values)))
    assert done.returncode != 0, "the chart accepts these values"
    return " ".join(done.stderr.split())


def notes(**values: Any) -> str:
    """What NOTES.txt tells whoever installs."""
    done = _helm("install", "web", CHART, "--namespace", "prod", "--dry-run=client", "--values", "-", values=merged(SERVING, values))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Values over values, as helm lays them: null takes a value away."""
    result = dict(base)
    for key, value in more.items():
        old = result.get(key)
        if value is None and key in base:
            del result[key]
        else:
            result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


@functools.cache
def _template(values: str, release: str = "web", namespace: str = "prod") -> subprocess.CompletedProcess[str]:
    return _helm("template", release, CHART, "--namespace", namespace, "--values", "-", values=json.loads(values))


def _helm(*arguments: object, values: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command, env = [tools.helm(), *map(str, arguments)], {**os.environ, **(environ or {})}
    return subprocess.run(command, input=json.dumps(values), env=env, capture_output=True, text=True, timeout=60, check=False)
