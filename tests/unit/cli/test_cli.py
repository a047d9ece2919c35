"""The command explains itself, shows what it would do, and refuses with one line and exit status 2."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from moorage import __version__
from moorage.cli import cli
from moorage.errors import TargetError
from moorage.security.api_keys import KeyRing, generate
from moorage.security.keyring import SealingKeys
from moorage.settings_catalogue import known_settings


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MOORAGE_"):
            monkeypatch.delenv(name)


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin, prog_name="moorage")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, str | None]]:
    """Stand in for the launcher, which is not this room's: what it was asked to serve."""
    asked: list[tuple[str, Any, str | None]] = []

    def launch(name: str) -> Any:
        def launched(settings: Any, *, config_path: str | None) -> int:
            asked.append((name, settings, config_path))
            return 7

        return launched

    module = ModuleType("moorage.runtime.serve")
    module.__dict__.update(serve=launch("serve"), dev=launch("dev"))
    monkeypatch.setitem(sys.modules, "moorage.runtime.serve", module)
    return asked


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_target_is_served_with_the_settings_of_the_command_line(command: str, served: list[Any], tmp_path: Path) -> None:
    config = tmp_path / "moorage.yaml"
    config.write_text("server: {port: 1, backlog: 5}\nadmin: {port: 2}\n")
    options = ("--config", str(config), "--port", "3", "--set", "server.port=4", "--set", "telemetry.service_name=a=b")
    assert run(command, "tools:mcp", *options).exit_code == 7
    [(name, settings, path)] = served
    assert (name, path) == (command, str(config))
    assert (settings.target, settings.server.port, settings.server.backlog, settings.admin.port) == ("tools:mcp", 3, 5, 2)
    assert settings.telemetry.service_name == "a=b"


def test_the_target_may_come_from_the_environment(served: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_TARGET", "tools:mcp")
    run("serve", "--host", "localhost", "--admin-port", "0")
    assert served[0][1].target == "tools:mcp"
    assert served[0][1].server.host == "localhost"
    assert served[0][1].admin.port == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serve"], "moorage: error: there is nothing to serve: no TARGET is named"),
        (["dev"], "moorage: error: there is nothing to serve: no TARGET is named"),
        (
            ["serve", "t", "--port", "x"],
            "moorage: error: server.port = 'x' (command line) is not allowed: it takes a whole number from 0 to 65535 (port)",
        ),
        (
            ["config", "--set", "server.prot=1"],
            "moorage: error: unknown setting server.prot on the command line; did you mean server.port?",
        ),
        (["config", "--config", "/none.yaml"], "moorage: error: cannot read the settings file /none.yaml: No such file or directory"),
        (["config", "--host", "0.0.0.0"], "moorage: error: server.host='0.0.0.0' can be reached by others and there are no API keys"),
        (["keys", "new", "a b"], "moorage: error: 'a b' cannot name a key"),
        (["keys", "hash", "ci"], "moorage: error: this is not an API key"),
        (["config", "--set", "server.port"], "Error: Invalid value for '--set': 'server.port' is not section.field=value"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_status_two(arguments: list[str], line: str, served: list[Any]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [text for text in result.stderr.splitlines() if text.startswith(line)]
    assert "Traceback" not in result.stderr
    assert not served


def test_each_problem_has_a_line_and_the_hint_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_X", "1")
    assert run("config", "--port", "-1").stderr.splitlines() == [
        "moorage: error: unknown variable MOORAGE_X",
        "moorage: error: server.port = -1 (command line) is not allowed: it takes a whole number from 0 to 65535 (port)",
        "  docs/reference/settings.md lists every setting",
    ]


def test_a_fault_while_serving_is_explained_too(served: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise TargetError("nothing there", "look elsewhere")

    monkeypatch.setattr(sys.modules["moorage.runtime.serve"], "serve", fail)
    result = run("serve", "tools:mcp")
    assert (result.exit_code, result.stderr) == (2, "moorage: error: nothing there\n  look elsewhere\n")


def test_config_shows_every_setting_with_its_origin_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_SECURITY__API_KEYS", "canary:00")
    monkeypatch.setenv("MOORAGE_SERVER__HOST", "::")
    result = run("config", "tools:mcp")
    assert result.exit_code == 0
    assert "canary" not in result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[1:]}
    assert set(rows) == set(known_settings())
    assert rows["target"] == ["'tools:mcp'", "command", "line"]
    assert rows["server.host"] == ["'::'", "environment", "MOORAGE_SERVER__HOST"]
    assert rows["security.api_keys"] == ["(hidden)", "environment", "MOORAGE_SECURITY__API_KEYS"]
    assert rows["telemetry.service_name"] == ["-", "default"]


def test_config_can_be_read_by_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_SECURITY__API_KEYS", "canary:00")
    monkeypatch.setenv("MOORAGE_SECURITY__ALLOWED_HOSTS", "a.example,b.example")
    shown = json.loads(run("config", "--json").stdout)
    assert set(shown) == set(known_settings())
    assert shown["server.port"] == {"value": 8000, "origin": "default"}
    assert shown["security.allowed_hosts"]["value"] == ["a.example", "b.example"]
    assert shown["security.api_keys"]["value"] == "(hidden)"
    assert shown["security.api_keys_file"]["value"] is None


def test_a_new_key_is_printed_with_its_line_and_explained_beside() -> None:
    result = run("keys", "new", "ci")
    token, line = result.stdout.splitlines()
    principal = KeyRing.parse(line).lookup(token)
    assert principal is not None
    assert principal.name == "ci"
    assert "shown this once" in result.stderr
    assert "MOORAGE_SECURITY__API_KEYS_FILE" in result.stderr
    assert token not in result.stderr


def test_a_key_from_standard_input_is_hashed_and_not_repeated() -> None:
    token, line = generate("ci")
    result = run("keys", "hash", "ci", stdin=token + "\n")
    assert result.stdout == line + "\n"
    assert token not in result.output


def test_a_new_sealing_key_is_printed_alone_and_explained_beside() -> None:
    result = run("keys", "sealing")
    (line,) = result.stdout.splitlines()
    assert len(SealingKeys.parse(line)) == 1
    assert "MOORAGE_SECURITY__SEALING_KEYS_FILE" in result.stderr
    assert line not in result.stderr
    assert run("keys", "sealing").stdout != result.stdout


def test_version_names_what_a_bug_report_needs() -> None:
    assert run("version").stdout.startswith(f"moorage {__version__} (mcp 2.")
    assert run("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["dev"], ["config"], ["keys"], ["keys", "new"], ["keys", "hash"], ["keys", "sealing"], ["version"]]
)
def test_every_command_has_help(command: list[str]) -> None:
    result = run(*command, "-h")
    assert result.exit_code == 0
    assert result.stdout.startswith(" ".join(["Usage: moorage", *command]))
    assert "..." not in result.stdout.partition("Commands:")[2], "a summary is cut off"


def test_help_and_config_import_nothing_that_serves() -> None:
    program = (
        "import sys; from moorage.cli import cli; cli(['config'], standalone_mode=False);"
        "print([name for name in ('mcp', 'fastapi', 'gunicorn', 'uvicorn', 'opentelemetry') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "moorage", "serve"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("moorage: error: there is nothing to serve")


def test_the_script_of_the_distribution_is_this_command() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"moorage": "moorage.cli:main"}
