"""One release of the chart in a namespace of its own, and the questions the tests ask about it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.cluster.target import CHART, Target


@dataclass(frozen=True, slots=True)
class Release:
    """A release by its name; the namespace has the same."""

    target: Target
    name: str

    def create_namespace(self) -> None:
        """A namespace that admits nothing but restricted pods, as a careful cluster has it."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}})

    def delete_namespace(self) -> None:
        """Delete the namespace with all that is in it, and wait until it is gone."""
        self.target.ask("kubectl", "delete", "namespace", self.name, "--ignore-not-found", "--timeout=120s")

    def create_tls_secret(self, name: str, certificate: bytes, key: bytes) -> None:
        """The Secret that the ingress takes its certificate from."""
        data = {"tls.crt": base64.b64encode(certificate).decode(), "tls.key": base64.b64encode(key).decode()}
        metadata = {"name": name, "namespace": self.name}
        self.apply({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data})

    def apply(self, thing: dict[str, Any]) -> None:
        """Create one object, or change it."""
        self.target.ask("kubectl", "apply", "-f", "-", stdin=json.dumps(thing))

    def install(self, *values: str) -> str:
        """``helm install --wait``; returns the notes it prints."""
        return self.target.ask("helm", *self.helm_arguments("install", *values))

    def helm_arguments(self, verb: str, *values: str) -> list[str]:
        """What ``helm install`` and ``helm upgrade`` are given."""
        return [verb, self.name, str(CHART), "--namespace", self.name, "--wait", "--timeout", "180s", *values]

    def kubectl(self, *arguments: object) -> str:
        """Ask in the release's namespace."""
        return self.target.ask("kubectl", "--namespace", self.name, *arguments)

    def objects(self, kinds: str, selector: str = "") -> list[dict[str, Any]]:
        """Every object of some kinds, parsed."""
        only = ("--selector", selector) if selector else ()
        return json.loads(self.kubectl("get", kinds, "--output=json", *only))["items"]

    def everything(self) -> set[str]:
        """Every object in the namespace, of every kind that can be listed, but for events and measurements."""
        listable = self.target.ask("kubectl", "api-resources", "--namespaced", "--verbs=list", "--output=name").split()
        kinds = ",".join(kind for kind in listable if not kind.startswith("events") and not kind.endswith("metrics.k8s.io"))
        return set(self.kubectl("get", kinds, "--output=name", "--ignore-not-found").split())

    def pods(self) -> list[dict[str, Any]]:
        """The server's pods, those on their way out included."""
        return self.objects("pods", f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=server")

    def pod_names(self) -> set[str]:
        """The names of the server's pods."""
        return {pod["metadata"]["name"] for pod in self.pods()}

    def token(self) -> str:
        """The API key that the chart made, where its notes say it is."""
        secrets = [s for s in self.objects("secrets") if "token" in s.get("data", {})]
        assert len(secrets) == 1, f"one Secret should hold the key's text, these do: {[s['metadata']['name'] for s in secrets]}"
        return base64.b64decode(secrets[0]["data"]["token"]).decode()


def image_values(image: str, where: str = "image") -> Sequence[str]:
    """The values that make the chart run an image; none without one."""
    repository, _, tag = image.rpartition(":")
    return ("--set", f"{where}.repository={repository}", "--set-string", f"{where}.tag={tag}") if image else ()
