"""What `lookup` finds: a stand-in for the API server that knows some objects, for helm to ask while it renders."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KINDS = {
    "/api/v1": ("Secret", "ConfigMap", "Service", "ServiceAccount", "PersistentVolumeClaim", "Pod"),
    "/apis/apps/v1": ("Deployment", "StatefulSet"),
    "/apis/networking.k8s.io/v1": ("NetworkPolicy", "Ingress"),
    "/apis/policy/v1": ("PodDisruptionBudget",),
}
"""What the server knows to exist: helm fails on an object of another kind."""


@contextmanager
def cluster(*objects: Mapping[str, Any]) -> Iterator[str]:
    """The address of an API server that holds these objects in the namespace prod, and nothing else."""
    answers = {_path(thing): thing for thing in objects} | _discovery()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.end_headers()
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self.wfile.write(json.dumps(found or missing).encode())

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _path(thing: Mapping[str, Any]) -> str:
    version, kind, name = thing["apiVersion"], thing["kind"], thing["metadata"]["name"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{group}/namespaces/prod/{_plural(kind)}/{name}"


def _plural(kind: str) -> str:
    return {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}.get(kind, f"{kind.lower()}s")


def _discovery() -> dict[str, Mapping[str, Any]]:
    resources = {
        group: {
            "kind": "APIResourceList",
            "groupVersion": group.removeprefix("/apis/").removeprefix("/api/"),
            "resources": [{"name": _plural(kind), "kind": kind, "namespaced": True, "verbs": ["get"]} for kind in kinds],
        }
        for group, kinds in KINDS.items()
    }
    return {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(path) for path in KINDS if path.startswith("/apis/")]},
        **resources,
    }


def _group(path: str) -> dict[str, Any]:
    version = {"groupVersion": path.removeprefix("/apis/"), "version": path.rpartition("/")[2]}
    return {"name": path.split("/")[2], "versions": [version], "preferredVersion": version}
