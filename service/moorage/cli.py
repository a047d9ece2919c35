"""The `moorage` command.

Owns what a person types and reads. Promises that whatever stops a command is one line, or a line for each problem, with what to do about it
and exit status 2; never a traceback. Imports what a command needs when it runs, so that help and `config` answer at once. Leaves running
a server to `runtime`.
"""

import json
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import click

from moorage import __version__
from moorage.errors import MoorageError, SettingsError

if TYPE_CHECKING:
    from moorage.settings_sources import LoadedSettings


_NAMING: Final = "say moorage serve module:attribute or path/to/file.py[:attribute], or set MOORAGE_TARGET"


class _Group(click.Group):
    """Commands whose faults are explained."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MoorageError as exc:
            for line in exc.message.splitlines():
                click.echo(f"moorage: error: {line}", err=True)
            if exc.hint:
                click.echo(f"  {exc.hint}", err=True)
            ctx.exit(exc.exit_code)


def _assignment(_ctx: click.Context, _parameter: click.Parameter, entries: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for entry in entries:
        path, equals, value = entry.partition("=")
        if not equals:
            raise click.BadParameter(f"{entry!r} is not section.field=value")
        pairs[path.strip()] = value
    return pairs


def _setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every command takes that reads the settings."""
    options = (
        click.argument("target", required=False),
        click.option("--host", help="Address of the public listener (server.host)."),
        click.option("--port", help="Port of the public listener (server.port)."),
        click.option("--admin-port", help="Port of the admin listener (admin.port)."),
        click.option("--config", "config_path", metavar="FILE", help="YAML file with settings; else the one that MOORAGE_CONFIG names."),
        click.option(
            "--set", "assignments", multiple=True, callback=_assignment, metavar="SECTION.FIELD=VALUE", help="Any setting; may be repeated."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _load(
    target: str | None, host: str | None, port: str | None, admin_port: str | None, config_path: str | None, assignments: dict[str, str]
) -> "LoadedSettings":
    from moorage.settings_sources import load_settings

    flags = {"target": target, "server.host": host, "server.port": port, "admin.port": admin_port}
    return load_settings(assignments | {path: text for path, text in flags.items() if text is not None}, config_path=config_path)


def _load_to_serve(**options: Any) -> "LoadedSettings":
    loaded = _load(**options)
    if loaded.settings.target is None:
        raise SettingsError("there is nothing to serve: no TARGET is named", _NAMING)
    return loaded


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Serve any MCP server object in production."""


@cli.command()
@_setting_options
def serve(**options: Any) -> None:
    """Serve TARGET in production.

    TARGET is module:attribute or path/to/file.py[:attribute]; the attribute is an SDK server object or a function that returns one.
    It serves /mcp, and on the admin port /livez, /readyz, /startupz, /metrics and /version.
    """
    loaded = _load_to_serve(**options)
    from moorage.runtime.serve import serve as run

    sys.exit(run(loaded.settings, config_path=loaded.config_path))


@cli.command()
@_setting_options
def dev(**options: Any) -> None:
    """Serve TARGET and start again when a file changes.

    One process with logs for people, for development.
    """
    loaded = _load_to_serve(**options)
    from moorage.runtime.serve import dev as run

    sys.exit(run(loaded.settings, config_path=loaded.config_path))


@cli.command()
@_setting_options
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def config(*, as_json: bool, **options: Any) -> None:
    """Show the settings and where each came from.

    What is shown is what `moorage serve` would run with, given the same arguments, environment and file. Secrets are hidden.
    """
    loaded = _load(**options)
    click.echo(_config_json(loaded) if as_json else _config_table(loaded))


@cli.group()
def keys() -> None:
    """Make API keys and sealing keys."""


@keys.command()
@click.argument("name")
def new(name: str) -> None:
    """Make a key for NAME: print the key, then the line to store."""
    from moorage.security.api_keys import generate

    token, line = generate(name)
    click.echo(f"The key of {name}. It is shown this once; the client sends it as 'Authorization: Bearer KEY':", err=True)
    click.echo(token)
    click.echo("The line to store, in the file that security.api_keys_file (MOORAGE_SECURITY__API_KEYS_FILE) names:", err=True)
    click.echo(line)


@keys.command("hash")
@click.argument("name")
def hash_key(name: str) -> None:
    """Read a key of NAME from standard input and print the line to store."""
    from moorage.security.api_keys import stored_line

    token: str = click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    click.echo(stored_line(name, token.strip()))


@keys.command()
def sealing() -> None:
    """Make a key that seals session ids: print the line to store."""
    from moorage.security.keyring import generate

    click.echo(
        "A key that every replica shares. The line to store, in the file that security.sealing_keys_file"
        " (MOORAGE_SECURITY__SEALING_KEYS_FILE) names; the first line seals, all open:",
        err=True,
    )
    click.echo(generate())


@cli.command()
def version() -> None:
    """Show the versions that a bug report needs."""
    click.echo(f"moorage {__version__} (mcp {metadata.version('mcp')}, Python {platform.python_version()})")


def _config_json(loaded: "LoadedSettings") -> str:
    from moorage.settings_catalogue import HIDDEN, known_settings, value_of

    shown: dict[str, dict[str, object]] = {}
    for path, known in known_settings().items():
        value = value_of(loaded.settings, path)
        shown[path] = {"value": HIDDEN if known.secret and value is not None else value, "origin": loaded.origins[path]}
    return json.dumps(shown, indent=2)


def _config_table(loaded: "LoadedSettings") -> str:
    from moorage.settings_catalogue import known_settings, value_of

    rows = [("SETTING", "VALUE", "FROM")]
    rows += [(path, known.show(value_of(loaded.settings, path)) or "-", loaded.origins[path]) for path, known in known_settings().items()]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{path:<{first}}  {value:<{second}}  {origin}" for path, value, origin in rows)


def main() -> None:
    """Run the command."""
    cli(prog_name="moorage")
