"""Each guard of templates/validate.yaml, refusing; that good values pass is what every other module shows."""

import re
from typing import Any

import pytest

from tests.chart.rendering import CHART, INGRESS, refusal

NO_TOOLS: dict[str, Any] = {"files": {"server.py": None}}

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to serve": ({"tools": NO_TOOLS}, "nothing to serve: put your server's file into tools.files"),
    "a moorage image from elsewhere serves nothing either": (
        {"tools": NO_TOOLS, "image": {"repository": "registry.example.com/moorage"}},
        "nothing to serve",
    ),
    "tools twice": ({"tools": {"configMap": "a"}}, "tools.configMap and tools.files are both set"),
    "several files, no target": ({"tools": {"files": {"other.py": "x = 1"}}}, "target is empty: say which of the mounted files"),
    "a ConfigMap, no target": ({"tools": {**NO_TOOLS, "configMap": "a"}}, "target is empty"),
    "one port for two listeners": ({"config": {"admin": {"port": 8000}}}, "config.server.port and config.admin.port are both 8000"),
    "any free port": ({"config": {"admin": {"port": 0}}}, "config.admin.port is 0"),
    "keys without auth": ({"auth": {"enabled": False, "existingSecret": "a"}}, "auth.existingSecret is set but auth.enabled is false"),
    "two stores": (
        {"store": {"existingSecret": {"name": "a"}, "valkey": {"enabled": True}}},
        "store.existingSecret.name and store.valkey.enabled are both set",
    ),
    "certificates twice": (
        {"store": {"existingSecret": {"name": "a"}, "ca": {"configMap": "a", "secret": "b"}}},
        "store.ca.configMap and store.ca.secret are both set",
    ),
    "certificates for no store": ({"store": {"ca": {"configMap": "a"}}}, "store.ca needs store.existingSecret.name"),
    "certificates for the trial store": (
        {"store": {"ca": {"secret": "a"}, "valkey": {"enabled": True}}},
        "store.ca needs store.existingSecret.name",
    ),
    "any free door": ({"store": {"valkey": {"enabled": True}}, "config": {"relay": {"port": 0}}}, "config.relay.port is 0"),
    "more doors than ports": (
        {"store": {"valkey": {"enabled": True}}, "config": {"relay": {"port": 65535}, "server": {"workers": 2}}},
        "config.relay.port and config.server.workers lead to port 65536",
    ),
    "one port for a door and a listener": (
        {
            "store": {"existingSecret": {"name": "a"}},
            "config": {"relay": {"port": 8999}, "admin": {"port": 9001}, "server": {"workers": 3}},
        },
        "config.relay.port gives the workers the ports 8999 to 9001, and config.admin.port is 9001",
    ),
    "grace period": ({"drain": {"gracePeriodSeconds": 5}}, "drain.gracePeriodSeconds is 5, and a drain takes 40"),
    "fewest above most": (
        {"autoscaling": {"enabled": True, "minReplicas": 11}},
        "autoscaling.minReplicas (11) is above autoscaling.maxReplicas (10)",
    ),
    "autoscaling without a request": (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
        "autoscaling.enabled needs resources.requests.cpu",
    ),
    "a budget of nothing": ({"podDisruptionBudget": {"maxUnavailable": 0}}, "podDisruptionBudget.maxUnavailable is 0"),
    "no room for a rollout": ({"rollout": {"maxSurge": "0%"}}, "rollout.maxSurge is 0"),
    "an ingress for no host": ({"ingress": {**INGRESS, "hosts": []}}, "ingress.enabled needs ingress.hosts"),
    "tls without a certificate": ({"ingress": {**INGRESS, "tls": {}}}, "ingress.tls.enabled needs a certificate"),
    "two issuers": (
        {"ingress": {**INGRESS, "tls": {"issuer": "a", "clusterIssuer": "b"}}},
        "ingress.tls.issuer and ingress.tls.clusterIssuer are both set",
    ),
    "a scraper that is not let in": (
        {"metrics": {"serviceMonitor": {"enabled": True}}},
        "metrics.serviceMonitor.enabled needs networkPolicy.adminFrom",
    ),
    "a variable of the chart": (
        {"extraEnv": [{"name": "MOORAGE_CONFIG", "value": "a"}]},
        "extraEnv sets MOORAGE_CONFIG, which is there already",
    ),
    "a variable twice": ({"extraEnv": [{"name": "A"}, {"name": "A"}]}, "extraEnv sets A, which is there already"),
}


@pytest.mark.parametrize(("values", "message"), CASES.values(), ids=CASES)
def test_values_that_do_not_fit_together_are_refused_by_name(values: dict[str, Any], message: str):
    assert message in refusal(**values)


def test_each_guard_has_a_case():
    template = (CHART / "templates" / "validate.yaml").read_text()
    guards = re.findall(r'include "moorage\.refuse" \(?(?:printf )?"([^"%(:,]+)', template)
    assert len(guards) == template.count('include "moorage.refuse"')
    untried = [guard for guard in guards if not any(message.startswith((guard, guard.strip())) for _, message in CASES.values())]
    assert untried == []
