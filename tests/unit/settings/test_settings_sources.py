"""Settings are found in four places, remembered with their origin, and refused with one line for each thing that is wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from moorage.errors import SettingsError
from moorage.settings import Settings
from moorage.settings_catalogue import known_settings
from moorage.settings_sources import MAX_FILE_BYTES, LoadedSettings, load_settings, to_environ

WriteConfig = Callable[[str], str]


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    def write(text: str) -> str:
        path = tmp_path / "moorage.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def load(environ: dict[str, str] | None = None, *, config: str | None = None, **overrides: str) -> LoadedSettings:
    return load_settings({path.replace("__", "."): text for path, text in overrides.items()}, environ or {}, config)


def refusal(environ: dict[str, str] | None = None, *, config: str | None = None, **overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, config=config, **overrides)
    return caught.value.message


def test_without_any_source_everything_is_default() -> None:
    loaded = load()
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == set(known_settings())


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(write_config: WriteConfig) -> None:
    path = write_config("server: {port: 1, backlog: 10, workers: 2}\n")
    environ = {"MOORAGE_SERVER__PORT": "2", "MOORAGE_SERVER__BACKLOG": "20", "MOORAGE_CONFIG": path}
    loaded = load(environ, server__port="3")
    server = loaded.settings.server
    assert (server.port, server.backlog, server.workers, server.keep_alive_seconds) == (3, 20, 2, 75)
    assert loaded.origins["server.port"] == "command line"
    assert loaded.origins["server.backlog"] == "environment MOORAGE_SERVER__BACKLOG"
    assert loaded.origins["server.workers"] == f"file {path}"
    assert loaded.config_path == path


def test_the_given_file_wins_over_the_one_the_environment_names(write_config: WriteConfig) -> None:
    path = write_config("logs: {level: debug}")
    assert load({"MOORAGE_CONFIG": "/nowhere.yaml"}, config=path).settings.logs.level == "debug"


def test_text_becomes_the_type_of_the_setting() -> None:
    loaded = load(
        {
            "MOORAGE_TARGET": "tools:mcp",
            "MOORAGE_HTTP__JSON_RESPONSES": "true",
            "MOORAGE_HTTP__PING_SECONDS": "2.5",
            "MOORAGE_SECURITY__ALLOWED_HOSTS": "Example.com, *.example.org:8443,",
            "MOORAGE_SECURITY__ALLOWED_ORIGINS": "",
            "MOORAGE_TELEMETRY__SERVICE_NAME": "",
        }
    ).settings
    assert loaded.target == "tools:mcp"
    assert loaded.http.json_responses is True
    assert loaded.http.ping_seconds == 2.5
    assert loaded.security.allowed_hosts == ("example.com", "*.example.org:8443")
    assert loaded.security.allowed_origins == ()
    assert loaded.telemetry.service_name is None


def test_keys_and_sections_without_a_value_say_nothing(write_config: WriteConfig) -> None:
    assert load(config=write_config("server:\n  port:\ndrain:\ntarget:\n")).settings == Settings()
    assert load(config=write_config("# nothing\n")).settings == Settings()


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("MOORAGE_SERVER_PORT", "unknown variable MOORAGE_SERVER_PORT; did you mean MOORAGE_SERVER__PORT or MOORAGE_RELAY__PORT?"),
        (
            "MOORAGE_ALLOWED_HOSTS",
            "unknown variable MOORAGE_ALLOWED_HOSTS; did you mean MOORAGE_ADMIN__ALLOWED_HOSTS or MOORAGE_SECURITY__ALLOWED_HOSTS?",
        ),
        ("MOORAGE_DRAIN__BUDGET", "unknown variable MOORAGE_DRAIN__BUDGET; did you mean MOORAGE_DRAIN__BUDGET_SECONDS?"),
        ("MOORAGE_QQQQ", "unknown variable MOORAGE_QQQQ"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(variable: str, line: str) -> None:
    assert refusal({variable: "1"}) == line


def test_variables_that_only_start_like_ours_are_no_settings() -> None:
    links = {
        "MOORAGE_SERVICE_HOST": "10.0.0.1",
        "MOORAGE_SERVICE_PORT": "8000",
        "MOORAGE_SERVICE_PORT_HTTP": "8000",
        "MOORAGE_PORT": "tcp://10.0.0.1:8000",
        "MOORAGE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "MOORAGE_PORT_8000_TCP_ADDR": "10.0.0.1",
        "MOORAGE_ADMIN_SERVICE_HOST": "10.0.0.2",
        "MOORAGE_POD_NAME": "moorage-0",
        "MOORAGE_POD_NAMESPACE": "default",
        "MOORAGE_POD_UID": "7c2f",
        "MOORAGE_NODE_NAME": "node",
        "MOORAGE_TEST_KUBECONFIG": "/home/me/kubeconfig",
    }
    assert load(links).settings == Settings()
    assert refusal({"MOORAGE_PORT": "9000"}).startswith("unknown variable MOORAGE_PORT; did you mean MOORAGE_")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server: {prot: 1}", "unknown key server.prot in {}; did you mean server.port?"),
        ("securty: {allow_anonymous: true}", "unknown key securty in {}; did you mean security?"),
        ("port: 1", "unknown key port in {}; did you mean relay.port or admin.port?"),
        ("logs: loud", "logs in {} is a section: it takes keys, not str"),
        ("server: {port: '1'}", "server.port = '1' (file {}) is not allowed: it takes a whole number from 0 to 65535 (port)"),
        ("server: {workers: true}", "server.workers = true (file {}) is not allowed: it takes a whole number from 1 to 64 (processes)"),
        ("target: 8", "target = 8 (file {}) is not allowed: it takes text"),
        ("http: {json_responses: 1}", "http.json_responses = 1 (file {}) is not allowed: it takes true or false"),
        ("logs: {level: loud}", "logs.level = 'loud' (file {}) is not allowed: it takes one of debug, info, warning, error"),
        (
            "security: {allowed_hosts: [a, 'https://b/']}",
            "security.allowed_hosts = a,https://b/ (file {}) is not allowed:"
            " 'https://b/' is not a host: write name, name:port, *.suffix or *, without scheme and path",
        ),
        (
            "security: {allowed_origins: a.example}",
            "security.allowed_origins = 'a.example' (file {}) is not allowed: it takes a list (in a variable: separated by commas)",
        ),
        ("server: {port: 1\n", "the settings file {} is not valid YAML, line 2: expected ',' or '}}', but got '<stream end>'"),
        ("server:\n  port: 1\n  port: 2\n", "the settings file {} is not valid YAML, line 3: the key port is given twice"),
        ("server: {port: [1]}", "server.port = a list (file {}) is not allowed: it takes a whole number from 0 to 65535 (port)"),
        ("logs: {level: {a: 1}}", "logs.level = a mapping (file {}) is not allowed: it takes one of debug, info, warning, error"),
        (
            "security: {allowed_hosts: [a, [b], {c: d}]}",
            "security.allowed_hosts = a,a list,a mapping (file {}) is not allowed: it takes a list (in a variable: separated by commas)",
        ),
        (
            "server.port: 5\nserver: {port: 6}",
            "server.port is given twice in {}: as a key of its section and with its whole name",
        ),
        (
            "server: {port: 6}\nserver.port: 6",
            "server.port is given twice in {}: as a key of its section and with its whole name",
        ),
        ("[" * 5000, "the settings file {} is nested too deeply"),
        ("a: " + "[" * 5000 + "]" * 5000, "the settings file {} is nested too deeply"),
        ("server:\n  port: 2026-13-45", "the settings file {} is not valid YAML, line 2: what is written there is no timestamp"),
        ("server: {port: " + "9" * 5000 + "}", "the settings file {} is not valid YAML, line 1: what is written there is no int"),
        (
            "server: {port: 0x" + "f" * 5000 + "}",
            "server.port = a huge number (file {}) is not allowed: it takes a whole number from 0 to 65535 (port)",
        ),
        ("server: {port: !!bool maybe}", "the settings file {} is not valid YAML, line 1: what is written there is no bool"),
        ("- server", "the settings file {} holds a list, not sections with keys"),
        ("a: \x07", "the settings file {} is not valid YAML: unacceptable character #x0007: special characters are not allowed"),
    ],
)
def test_a_file_that_says_something_impossible_is_refused(text: str, line: str, write_config: WriteConfig) -> None:
    path = write_config(text)
    assert refusal(config=path) == line.format(path)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    (path := tmp_path / "moorage.yaml").write_text("server: {port: 7}", encoding="utf-8-sig")
    assert load(config=str(path)).settings.server.port == 7


def test_aliases_that_unfold_without_end_are_not_written_out(write_config: WriteConfig) -> None:
    levels = [f"- &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 7)]
    path = write_config(
        "server:\n  port:\n  - &a0 [x]\n" + "\n".join(f"  {level}" for level in levels) + "\nsecurity: {allowed_hosts: [*a6]}"
    )
    assert [line.partition(" (file")[0] for line in refusal(config=path).splitlines()] == [
        "server.port = a list",
        "security.allowed_hosts = a list",
    ]


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert refusal(config=str(tmp_path / "none.yaml")) == f"cannot read the settings file {tmp_path}/none.yaml: No such file or directory"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xff")
    assert refusal(config=str(binary)) == f"cannot read the settings file {binary}: this is not UTF-8 text"
    os.mkfifo(pipe := tmp_path / "pipe.yaml")
    assert refusal(config=str(pipe)) == f"cannot read the settings file {pipe}: this is no regular file"
    (large := tmp_path / "large.yaml").write_text("#" * (MAX_FILE_BYTES + 1))
    assert refusal(config=str(large)) == f"cannot read the settings file {large}: there are more than 1048576 bytes"


@pytest.mark.parametrize(("text", "shown"), [("0", "0"), ("65", "65"), ("1.5", "'1.5'"), ("many", "'many'"), ("", "''"), ("nan", "'nan'")])
def test_a_number_outside_its_range_is_refused_with_the_range(text: str, shown: str) -> None:
    line = (
        f"server.workers = {shown} (environment MOORAGE_SERVER__WORKERS) is not allowed: it takes a whole number from 1 to 64 (processes)"
    )
    assert refusal({"MOORAGE_SERVER__WORKERS": text}) == line


@pytest.mark.parametrize("text", ["inf", "nan", "61"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    assert "it takes a number from 1 to 60 (seconds)" in refusal(http__ping_seconds=text)


def test_an_unknown_setting_on_the_command_line_is_refused() -> None:
    assert refusal(server__prot="1") == "unknown setting server.prot on the command line; did you mean server.port?"


def test_every_problem_is_told_at_once() -> None:
    lines = refusal({"MOORAGE_X": "1", "MOORAGE_SERVER__PORT": "-1"}, logs__level="loud").splitlines()
    assert len(lines) == 3


def test_a_bad_secret_is_refused_without_being_shown(write_config: WriteConfig) -> None:
    message = refusal(config=write_config("security: {api_keys: [canary]}"))
    assert "canary" not in message
    assert "security.api_keys = (hidden)" in message


def test_another_process_loads_the_very_same_settings(write_config: WriteConfig) -> None:
    config = write_config("http: {ping_seconds: 2.25}\nserver: {workers: 3}\nsecurity: {allowed_hosts: [a.example, b.example]}\n")
    first = load(
        {"MOORAGE_SECURITY__API_KEYS": "# rotated\nci:00\n"}, config=config, server__host="0.0.0.0", target="tools:mcp", server__workers="1"
    )
    inherited = {"MOORAGE_SERVER__WORKERS": "9", "MOORAGE_CONFIG": config}
    second = load(inherited | to_environ(first.settings))
    assert second.settings == first.settings
    assert second.config_path is None


def test_a_key_file_travels_as_a_path() -> None:
    first = load(security__api_keys_file="/run/keys")
    environ = to_environ(first.settings)
    assert environ["MOORAGE_SECURITY__API_KEYS_FILE"] == "/run/keys"
    assert environ["MOORAGE_SECURITY__API_KEYS"] == ""
