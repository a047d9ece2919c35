"""The reference that follows from the service itself: settings, their schema for the chart, and the command.

Owns docs/reference/settings.md, docs/reference/cli.md and helm/moorage/config.schema.json. Leaves writing and comparing to
`scripts.generate`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

import click

from moorage.cli import cli
from moorage.settings import Section, Settings
from moorage.settings_catalogue import Known, known_settings

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY_THE_CHART = frozenset(
    {
        "target",
        "server.replicas",
        "security.api_keys",
        "security.api_keys_file",
        "security.allow_anonymous",
        "security.sealing_keys",
        "security.sealing_keys_file",
        "store.url",
        "store.url_file",
        "store.ca_file",
        "relay.host",
        "relay.advertise",
    }
)
"""Settings that follow from other values of the chart, or from the pod, so that `config:` does not take them."""

_UNITS = (("MiB", 1024 * 1024), ("KiB", 1024))
_HELP_WIDTH = 100

SETTINGS_PAGE = """\
<!-- Written by `make generate` from service/moorage/settings.py. -->
# Settings

Each setting can be given in four places; the first that gives it wins:

1. the command line: `--host`, `--port`, `--admin-port`, or `--set section.field=value` for any;
2. an environment variable: `MOORAGE_` and the path in capitals, with two underscores between section and field (named below);
3. the YAML file that `--config` or `MOORAGE_CONFIG` names: sections with their fields, for example `server: {port: 9000}`;
4. the default.

In a variable and on the command line, a list is separated by commas, and an empty text takes a text away. A variable that starts with
`MOORAGE_` and is not named here, a key that the file does not know, and a value that is not allowed stop the start with a line that names
it. `moorage config` shows the settings in effect and where each came from.

Where telemetry is sent is set by the standard `OTEL_*` variables.
"""

CLI_PAGE = """\
<!-- Written by `make generate` from service/moorage/cli.py. -->
# The `moorage` command

Whatever stops a command is said in one line for each problem, with exit status 2.
"""


def generated() -> list[tuple[Path, str]]:
    """Every file that follows from the service, with its text."""
    pages = ROOT / "docs" / "reference"
    return [
        (pages / "settings.md", "\n".join(settings_page())),
        (pages / "cli.md", "\n".join(cli_page())),
        (ROOT / "helm" / "moorage" / "config.schema.json", json.dumps(config_schema(), indent=2) + "\n"),
    ]


# ---------------------------------------------------------------- settings.md


def settings_page() -> Iterator[str]:
    """The lines of the page, one table a section."""
    yield SETTINGS_PAGE
    for section, members in _sections().items():
        yield f"## {section or 'What is served'}\n"
        if section:
            yield f"{_section_description(section)}\n"
        yield "| setting and variable | default | allowed | what it is, and why the default |"
        yield "| --- | --- | --- | --- |"
        yield from (_row(known) for known in members)
        yield ""


def _sections() -> dict[str, list[Known]]:
    sections: dict[str, list[Known]] = {}
    for known in known_settings().values():
        sections.setdefault(known.path.rpartition(".")[0], []).append(known)
    return sections


def _section_description(name: str) -> str:
    section = cast("type[Section]", Settings.model_fields[name].annotation)
    return section.__doc__ or ""


def _row(known: Known) -> str:
    allowed = known.allowed + (f" ({known.unit})" if known.unit not in (None, "port") else "")
    meaning = (known.field.description or "").replace("*", "\\*")
    cells = (f"`{known.path}`<br>`{known.variable}`", _default(known), allowed, f"{meaning} *{known.reason}*")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(known: Known) -> str:
    value = known.field.default
    if value is None or value == ():
        return "none"
    if known.unit == "bytes":
        name, size = next((name, size) for name, size in _UNITS if value % size == 0)
        return f"`{value}` ({value // size} {name})"
    return f"`{value if isinstance(value, str) else known.show(value)}`"


# ---------------------------------------------------------------- config.schema.json


def config_schema() -> dict[str, Any]:
    """The JSON schema of the chart's `config:` value, closed at every level."""
    properties: dict[str, Any] = {}
    for section, members in _sections().items():
        fields = {known.path.rpartition(".")[2]: _field_schema(known) for known in members if known.path not in WRITTEN_BY_THE_CHART}
        properties |= {section: _closed(_section_description(section), fields)} if section else fields
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_closed("Settings of the service; docs/reference/settings.md.", properties),
    }


def _closed(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": False, "properties": properties}


def _field_schema(known: Known) -> dict[str, Any]:
    unit = f" In {known.unit}." if known.unit in ("bytes", "seconds") else ""
    schema: dict[str, Any] = {"description": f"{known.field.description}{unit}"}
    if get_origin(known.kind) is Literal:
        schema["enum"] = list(get_args(known.kind))
    elif get_origin(known.kind) is tuple:
        schema |= {"type": "array", "items": {"type": "string", "minLength": 1}}
    else:
        name = {bool: "boolean", int: "integer", float: "number", str: "string"}[known.kind]
        schema["type"] = [name, "null"] if known.optional else name
    if known.kind in (int, float):
        schema |= {"minimum": known.limit("ge"), "maximum": known.limit("le")}
    return {**schema, "default": list(known.field.default) if isinstance(known.field.default, tuple) else known.field.default}


# ---------------------------------------------------------------- cli.md


def cli_page() -> Iterator[str]:
    """The lines of the page: each command's own help."""
    yield CLI_PAGE
    for path, command in _commands(("moorage",), cli):
        context = click.Context(command, info_name=" ".join(path), max_content_width=_HELP_WIDTH, terminal_width=_HELP_WIDTH)
        context.help_option_names = ["-h", "--help"]
        yield f"## {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```\n"


def _commands(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands((*path, name), command.commands[name])
