import json
from typing import Any

import pytest

from scripts import chart
from tests.chart.rendering import CHART, refusal, render


def sections(data: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every level of the schema that lists its keys."""
    found = [path]
    for key, value in data.get("properties", {}).items():
        if key != "global" and value.get("type") == "object" and "properties" in value:
            found += sections(value, (*path, key))
    return found


def schema() -> dict[str, Any]:
    return json.loads((CHART / "values.schema.json").read_text())


@pytest.mark.parametrize("path", sections(schema()), ids=".".join)
def test_an_unknown_value_is_refused_at_each_level(path: tuple[str, ...]):
    values: Any = {"unheardOf": 1}
    for key in reversed(path):
        values = {key: values}
    assert "additional properties 'unheardOf' not allowed" in refusal(**values)


def test_every_level_of_the_schema_is_closed():
    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and where not in ("#/$defs/Volume",):
                assert node.get("additionalProperties") is False, where
            for key, value in node.items():
                walk(value, f"{where}/{key}")
        elif isinstance(node, list):
            for item in node:
                walk(item, where)

    walk(schema(), "#")


@pytest.mark.parametrize(
    ("values", "place", "message"),
    [
        ({"config": {"server": {"prot": 1}}}, "/config/server", "additional properties 'prot' not allowed"),
        ({"config": {"sever": {}}}, "/config", "additional properties 'sever' not allowed"),
        ({"config": {"server": {"workers": 65}}}, "/config/server/workers", "maximum"),
        ({"config": {"drain": {"budget_seconds": 0}}}, "/config/drain/budget_seconds", "minimum"),
        ({"config": {"logs": {"level": "loud"}}}, "/config/logs/level", "value must be one of"),
        ({"replicaCount": "three"}, "/replicaCount", "want integer"),
        ({"replicaCount": -1}, "/replicaCount", "minimum"),
        ({"image": {"digest": "latest"}}, "/image/digest", "does not match pattern"),
        ({"ingress": {"hosts": ["https://mcp.example.com"]}}, "/ingress/hosts/0", "does not match pattern"),
        ({"tools": {"files": {"a/b.py": "x"}}}, "", "'a/b.py' does not match pattern"),
        ({"config": {"target": "a:b"}}, "/config", "additional properties 'target' not allowed"),
        ({"config": {"security": {"api_keys": "a:b"}}}, "/config/security", "additional properties 'api_keys' not allowed"),
        ({"config": {"security": {"allow_anonymous": True}}}, "/config/security", "additional properties 'allow_anonymous' not allowed"),
        ({"config": {"security": {"sealing_keys": "a"}}}, "/config/security", "additional properties 'sealing_keys' not allowed"),
        ({"config": {"store": {"url": "redis://a"}}}, "/config/store", "additional properties 'url' not allowed"),
        ({"config": {"relay": {"host": "::"}}}, "/config/relay", "additional properties 'host' not allowed"),
        ({"config": {"server": {"replicas": 3}}}, "/config/server", "additional properties 'replicas' not allowed"),
        ({"store": {"url": "redis://a"}}, "/store", "additional properties 'url' not allowed"),
        ({"store": {"existingSecret": "a"}}, "/store/existingSecret", "want object"),
        ({"store": {"existingSecret": {"key": ""}}}, "/store/existingSecret/key", "minLength"),
        ({"store": {"valkey": {"maxMemory": "192Mi"}}}, "/store/valkey/maxMemory", "does not match pattern"),
        ({"store": {"valkey": {"userId": 0}}}, "/store/valkey/userId", "minimum"),
        ({"store": {"valkey": {"image": {"tag": ""}}}}, "/store/valkey/image/tag", "does not match pattern"),
        ({"store": {"valkey": {"persistence": {"size": "large"}}}}, "/store/valkey/persistence/size", "does not match pattern"),
        ({"sealing": {"keys": "a"}}, "/sealing", "additional properties 'keys' not allowed"),
        ({"tolerations": [{"kay": "a"}]}, "/tolerations/0", "additional properties 'kay' not allowed"),
        ({"resources": {"limits": {"memory": "much"}}}, "/resources/limits/memory", "does not match pattern"),
        ({"networkPolicy": {"egress": [{"two": []}]}}, "/networkPolicy/egress/0", "additional properties 'two' not allowed"),
        ({"extraEnv": [{"nam": "A"}]}, "/extraEnv/0", "missing property 'name'"),
        ({"auth": {"enabled": "yes"}}, "/auth/enabled", "want boolean"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_place(values: dict[str, Any], place: str, message: str):
    said = refusal(**values)
    assert f"at '{place}'" in said
    assert message in said


def test_a_parent_chart_may_share_its_globals():
    assert render(**{"global": {"region": "eu"}}).all("Deployment")


def test_the_schema_follows_from_the_values_and_the_settings():
    (text,) = (text for path, text in chart.generated() if path.name == "values.schema.json")
    assert (CHART / "values.schema.json").read_text() == text


def test_the_reference_page_has_a_row_for_every_value():
    values = list(chart.read_values((CHART / "values.yaml").read_text()))
    page = (chart.ROOT / "docs" / "reference" / "values.md").read_text()
    assert len(values) > 60
    assert page == chart.values_page(values)
    assert all(f"\n| `{'.'.join(value.path)}` | " in page for value in values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n", "a has no description"),
        ("a:\n  # -- Documented.\n  b: 1\n  c: 1\n", "a.c has no description"),
        ("# -- A list.\na: []\n", "a needs a `# @schema` line that says what it holds"),
        ("# -- Nothing.\na:\n", "a needs a `# @schema` line with its type"),
    ],
)
def test_a_value_without_description_or_type_stops_the_generator(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        list(chart.read_values(text))
