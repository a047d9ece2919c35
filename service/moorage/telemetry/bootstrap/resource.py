"""Who is telling: the resource that every span and measurement is sent with.

Owns the attributes of service and pod. What OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say wins over what is found out, and the
settings win over both.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

_POD: Final = {
    "k8s.pod.uid": "MOORAGE_POD_UID",
    "k8s.pod.name": "MOORAGE_POD_NAME",
    "k8s.namespace.name": "MOORAGE_POD_NAMESPACE",
    "k8s.node.name": "MOORAGE_NODE_NAME",
}
"""Set by the chart through the downward API."""


def _texts(resource: Resource) -> dict[str, str]:
    return {key: value for key, value in (resource.attributes or {}).items() if isinstance(value, str)}


class _Resource(Resource):
    """A resource whose hash is computed once: exporters group by it, span by span."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        super().__init__(attributes)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)


def describe(
    environ: Mapping[str, str], *, setting: str | None, service_name: str, version: str, instance_id: str | None = None
) -> Resource:
    """Return the resource of this process.

    Args:
        environ: The environment.
        setting: The service name of the settings, if any.
        service_name: The name when nobody set one.
        version: Of the service.
        instance_id: Default: the pod's uid, else the host's name, and the process id.
    """
    pod = {key: value for key, variable in _POD.items() if (value := environ.get(variable, "").strip())}
    found: dict[str, str] = {
        "service.name": service_name,
        "service.version": version,
        "service.instance.id": instance_id or f"{pod.get('k8s.pod.uid') or socket.gethostname()}-{os.getpid()}",
        **pod,
    }
    found = _texts(Resource.create()) | found  # what resource detectors found, with made-up names where nobody set one
    found |= _texts(OTELResourceDetector().detect())
    if setting:
        found["service.name"] = setting
    return _Resource(found)
