"""Writes what follows from the chart: values.schema.json, docs/reference/values.md and k8s/base.

Owns the reading of values.yaml: a `# --` comment is a value's description, a `# @schema` line what its type does not say. Promises texts
that depend on the sources alone, so that a difference is a drift. Leaves writing and comparing them to `scripts.generate`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts import tools

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "moorage"
BASE = ROOT / "k8s" / "base"
TYPES = Path(__file__).with_name("chart_types.yaml")
Schema = dict[str, Any]


def generated(config_schema: Mapping[str, Any] | None = None) -> list[tuple[Path, str]]:
    """Every file that follows from the chart, with its text.

    Args:
        config_schema: The schema of `config:`; that of helm/moorage/config.schema.json unless given.
    """
    settings = config_schema or json.loads((CHART / "config.schema.json").read_text())
    values = list(read_values((CHART / "values.yaml").read_text()))
    return [
        (CHART / "values.schema.json", json.dumps(values_schema(values, settings), indent=2) + "\n"),
        (ROOT / "docs" / "reference" / "values.md", values_page(values)),
        *kustomize_base(),
    ]


# ---------------------------------------------------------------- values.yaml


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml with what its comments say; the keys inside a documented object are part of it."""

    path: tuple[str, ...]
    default: Any
    description: str
    schema: Schema


def read_values(text: str) -> Iterator[Value]:
    """Read the values in their order.

    Raises:
        ValueError: A value has no description, or its type cannot be told.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode), "values.yaml is a mapping"
    yield from _walk(root, yaml.safe_load(text), (), text.splitlines())


def _walk(node: yaml.MappingNode, data: dict[str, Any], parents: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, child in node.value:
        path, default = (*parents, key.value), data[key.value]
        description, schema = _comments(lines, key.start_mark.line)
        if description:
            yield Value(path, default, description, _typed(path, default, schema))
        elif isinstance(child, yaml.MappingNode) and child.value:
            yield from _walk(child, default, path, lines)
        else:
            raise ValueError(f"values.yaml: {'.'.join(path)} has no description: write `# -- ...` above it")


def _comments(lines: list[str], line: int) -> tuple[str, Schema]:
    block: list[str] = []
    while line and lines[line - 1].lstrip().startswith("# "):
        line -= 1
        block.insert(0, lines[line].strip().removeprefix("# "))
    schema: Schema = {}
    for text in (text for text in block if text.startswith("@schema ")):
        schema |= yaml.safe_load(text.removeprefix("@schema "))
    prose = " ".join(text for text in block if not text.startswith("@schema "))
    return prose.removeprefix("-- ") if prose.startswith("-- ") else "", schema


def _typed(path: tuple[str, ...], default: Any, schema: Schema) -> Schema:
    """Add the default's type; what holds others has to say what."""
    if isinstance(default, dict | list) and not {"$ref", "items", "additionalProperties"} & schema.keys():
        raise ValueError(f"values.yaml: {'.'.join(path)} needs a `# @schema` line that says what it holds")
    if {"$ref", "type", "enum"} & schema.keys():
        return schema
    names: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    if type(default) not in names:
        raise ValueError(f"values.yaml: {'.'.join(path)} needs a `# @schema` line with its type")
    return {"type": names[type(default)], **schema}


# ---------------------------------------------------------------- values.schema.json


def values_schema(values: list[Value], config_schema: Mapping[str, Any]) -> Schema:
    """The schema of the values, closed at every level."""
    root = _closed({})
    for value in values:
        level = root
        for key in value.path[:-1]:
            level = level["properties"].setdefault(key, _closed({}))
        level["properties"][value.path[-1]] = {"description": value.description, **value.schema}
    root["properties"]["global"] = {"description": "What a parent chart shares; not used here.", "type": "object"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the moorage chart",
        **root,
        "$defs": {**yaml.safe_load(TYPES.read_text()), **_config_definitions(config_schema)},
    }


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _config_definitions(schema: Mapping[str, Any]) -> Schema:
    """The settings' schema as `Config`, its own definitions as `Config.<name>` beside it."""
    moved = json.loads(json.dumps(schema).replace('"#/$defs/', '"#/$defs/Config.'))
    inner = moved.pop("$defs", {})
    moved.pop("$schema", None)
    moved.pop("$id", None)
    return {"Config": moved, **{f"Config.{name}": definition for name, definition in inner.items()}}


# ---------------------------------------------------------------- docs/reference/values.md

PAGE = """<!-- Written by `make generate` from helm/moorage/values.yaml. -->
# Values of the chart

Every value, in the order of `helm/moorage/values.yaml`. A key that does not stand here is refused before anything is installed.
What the types of Kubernetes' own objects (`affinity`, `extraVolumes`, ...) may hold is in its API reference.

| value | default | what it is |
| --- | --- | --- |
"""


def values_page(values: list[Value]) -> str:
    """The reference page, one row a value."""
    rows = (f"| `{'.'.join(value.path)}` | {_default(value)} | {value.description.replace('|', chr(92) + '|')} |" for value in values)
    return PAGE + "\n".join(rows) + "\n"


def _default(value: Value) -> str:
    if value.default is None:
        return "empty"
    return f"`{json.dumps(value.default)}`".replace("|", "\\|")


# ---------------------------------------------------------------- k8s/base


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, which is how people read configuration."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def kustomize_base() -> list[tuple[Path, str]]:
    """k8s/base: the chart rendered with k8s/values.yaml, without what only Helm needs.

    The configuration becomes a generator, so that a change of it rolls the pods here too.
    """
    texts: dict[str, str] = {}
    for manifest in _render(ROOT / "k8s" / "values.yaml"):
        if manifest["kind"] == "ConfigMap":
            texts["config.yaml"] = manifest["data"]["config.yaml"]
        else:
            texts[f"{manifest['kind'].lower()}.yaml"] = _dump(_without_helm(manifest))
    texts["kustomization.yaml"] = _dump(_kustomization(sorted(name for name in texts if name != "config.yaml")))
    notice = "# Written by `make generate` from helm/moorage and k8s/values.yaml.\n"
    return [(BASE / name, notice + text) for name, text in sorted(texts.items())]


def _render(values: Path) -> list[dict[str, Any]]:
    options = ["--namespace", "moorage", "--values", str(values), "--skip-tests", "--skip-schema-validation"]
    done = subprocess.run([tools.helm(), "template", "moorage", str(CHART), *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the chart does not render with {values.relative_to(ROOT)}:\n{done.stderr}")
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def _without_helm(manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = manifest["metadata"]
    metadata.pop("namespace")
    for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
        metadata["labels"].pop(label)
    if manifest["kind"] == "Deployment":
        del manifest["spec"]["template"]["metadata"]["annotations"]
    return manifest


def _kustomization(resources: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "moorage",
        "resources": resources,
        "configMapGenerator": [{"name": "moorage", "files": ["config.yaml"]}],
    }


def _dump(manifest: object) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=1000)
