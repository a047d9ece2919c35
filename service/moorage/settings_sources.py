"""Where settings come from: command line, environment, YAML file, default; in this order, and remembered for each.

Owns the names under which a setting is known in each source. Promises that whatever nobody meant (an unknown key, a value outside its
range, a file that is no settings file) stops the start with one line that names the key, the value (hidden when secret), what is allowed
and the nearest known key. Leaves the fields and the rules between them to `settings`.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError

from moorage.errors import SettingsError
from moorage.files import read_file
from moorage.settings import Settings
from moorage.settings_catalogue import PREFIX, Known, known_settings, text_of, value_of

CONFIG_VARIABLE: Final = "MOORAGE_CONFIG"
MAX_FILE_BYTES: Final = 1024 * 1024
"""Every setting with a long value takes a few KiB; a larger file is something else."""

_REFERENCE: Final = "docs/reference/settings.md lists every setting"

_NO_SETTING: Final = re.compile(
    r"MOORAGE_(TEST_\w+|POD_NAME|POD_NAMESPACE|POD_UID|NODE_NAME"
    r"|(\w+_)?SERVICE_(HOST|PORT(_\w+)?)|(\w+_)?PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
)
"""Variables that start like ours: the test suite's, what the chart tells of the pod, what Kubernetes sets for a Service called moorage."""

_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Found:
    """A value and the source that gave it."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and for each of them (`section.field`) where it came from."""

    settings: Settings
    origins: Mapping[str, str]
    config_path: str | None


def load_settings(
    overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None, config_path: str | None = None
) -> LoadedSettings:
    """Put the settings together.

    Args:
        overrides: What the command line says, by path, as text.
        environ: The environment; that of the process unless given.
        config_path: The YAML file; else the one that MOORAGE_CONFIG names.

    Raises:
        SettingsError: A source cannot be read, or says something that cannot be; the message has a line for each problem.
    """
    environ = os.environ if environ is None else environ
    config_path = config_path or environ.get(CONFIG_VARIABLE) or None
    problems: list[str] = []
    found: dict[str, Found] = {}
    if config_path is not None:
        found |= _from_file(config_path, problems)
    found |= _from_environment(environ, problems)
    found |= _from_command_line(overrides or {}, problems)
    settings = _validate(found, problems)
    if settings is None or problems:
        raise SettingsError("\n".join(problems), _REFERENCE)
    origins = {path: found[path].origin if path in found else "default" for path in known_settings()}
    return LoadedSettings(settings, origins, config_path)


def to_environ(settings: Settings) -> dict[str, str]:
    """Write settings as environment variables from which another process loads the very same ones.

    Every setting is written, so that neither the variables that the other process inherits nor a file that changed meanwhile matters.
    A secret is among them only when it was given by value.
    """
    variables = {known.variable: text_of(value_of(settings, path)) for path, known in known_settings().items()}
    return variables | {CONFIG_VARIABLE: ""}


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Found]:
    by_variable = {known.variable: known for known in known_settings().values()}
    found: dict[str, Found] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        known = by_variable.get(name)
        if known is not None:
            found[known.path] = Found(_parse(known, environ[name]), f"environment {name}")
        elif not (_NO_SETTING.fullmatch(name) or _SERVICE_LINK.match(environ[name])):
            problems.append(f"unknown variable {name}{_nearest(name, list(by_variable))}")
    return found


def _from_command_line(overrides: Mapping[str, str], problems: list[str]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for path, text in overrides.items():
        known = known_settings().get(path)
        if known is None:
            problems.append(f"unknown setting {path} on the command line{_nearest(path, list(known_settings()))}")
        else:
            found[path] = Found(_parse(known, text), "command line")
    return found


def _parse(known: Known, text: str) -> object:
    """Turn text into the setting's type; what cannot be turned stays text, and validation will say so."""
    if get_origin(known.kind) is tuple:
        return [entry.strip() for entry in text.split(",") if entry.strip()]
    if known.kind not in (bool, int, float):
        return text
    try:
        return TypeAdapter(known.kind).validate_python(text)
    except ValidationError:
        return text


def _from_file(path: str, problems: list[str]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for name, value in _entries(_read(path)):
        if value is None and (name in known_settings() or name in _sections()):
            continue  # a key without a value says nothing
        if name in found:
            problems.append(f"{name} is given twice in {path}: as a key of its section and with its whole name")
        elif name in known_settings():
            found[name] = Found(value, f"file {path}")
        elif name in _sections():
            problems.append(f"{name} in {path} is a section: it takes keys, not {type(value).__name__}")
        else:
            problems.append(f"unknown key {name} in {path}{_nearest(name, [*_sections(), *known_settings()])}")
    return found


def _entries(content: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if key in _sections() and isinstance(value, Mapping):
            yield from ((f"{key}.{name}", entry) for name, entry in cast("Mapping[object, object]", value).items())
        else:
            yield str(key), value


def _sections() -> list[str]:
    return list(dict.fromkeys(path.partition(".")[0] for path in known_settings() if "." in path))


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key given twice, where YAML's own would quietly take the last, and what it can make no value of."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[object] = set()
        for key_node in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key_node.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key_node.value} is given twice", key_node.start_mark)
            keys.add(key_node.value)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep))

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)  # pyright: ignore[reportUnknownMemberType]
        except (
            ValueError,
            LookupError,
            ArithmeticError,
            AttributeError,
            TypeError,
        ):  # of a date, a number, a tag that looks like one and is none
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(None, None, f"what is written there is no {kind}", node.start_mark) from None


def _read(path: str) -> Mapping[object, object]:
    text = read_file(path, f"the settings file {path}", max_bytes=MAX_FILE_BYTES)
    try:
        content: object = yaml.load(text, _Loader)  # noqa: S506 - a safe loader, see its base
    except RecursionError:
        raise SettingsError(f"the settings file {path} is nested too deeply", "Settings are keys of sections: two levels.") from None
    except yaml.MarkedYAMLError as exc:
        line = f", line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise SettingsError(f"the settings file {path} is not valid YAML{line}: {exc.problem}") from exc
    except yaml.YAMLError as exc:
        raise SettingsError(f"the settings file {path} is not valid YAML: {str(exc).splitlines()[0]}") from exc
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise SettingsError(f"the settings file {path} holds a {type(content).__name__}, not sections with keys")
    return cast("Mapping[object, object]", content)


def _nearest(name: str, candidates: list[str]) -> str:
    """Name what was probably meant: settings with the same last word first, then what looks alike."""
    plain = {candidate.removeprefix(PREFIX).replace("__", ".").lower(): candidate for candidate in candidates}
    wanted = name.removeprefix(PREFIX).replace("__", ".").lower()
    last = re.split(r"[._]", wanted)[-1]
    same = [path for path in plain if path.rpartition(".")[2] in (last, wanted)]
    near = difflib.get_close_matches(wanted, same, n=2, cutoff=0.0) or difflib.get_close_matches(wanted, plain, n=1, cutoff=0.5)
    return f"; did you mean {' or '.join(plain[path] for path in near)}?" if near else ""


def _validate(found: Mapping[str, Found], problems: list[str]) -> Settings | None:
    tree: dict[str, Any] = {}
    for path, item in found.items():
        section, _, name = path.rpartition(".")
        value = None if item.value == "" and known_settings()[path].optional else item.value
        (tree.setdefault(section, {}) if section else tree)[name] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            problem = _explain(cast("dict[str, Any]", error), found)
            if problem not in problems:
                problems.append(problem)
        return None


def _explain(error: dict[str, Any], found: Mapping[str, Found]) -> str:
    rule = error.get("ctx", {}).get("error")
    path = ".".join(str(part) for part in error["loc"][:2])
    if path not in found:
        return str(rule) if rule else f"{path}: {error['msg']}"
    known, item = known_settings()[path], found[path]
    expected = str(rule) if rule else f"it takes {known.allowed}" + (f" ({known.unit})" if known.unit else "")
    return f"{path} = {known.show(item.value)} ({item.origin}) is not allowed: {expected}"
