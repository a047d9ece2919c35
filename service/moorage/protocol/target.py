"""From the text TARGET to the MCP server object that it names.

Accepts `module:attribute` and `path/to/file.py[:attribute]`, where the attribute is an SDK `MCPServer`, a low-level `Server`, or a function
without arguments that returns one. Promises that each failure is one `TargetError` that says what was looked for, where, and what was
found instead, and that loading leaves the logging of the process as it was. Leaves serving the object to the rest of the room.
"""

import difflib
import importlib
import importlib.util
import inspect
import logging
import os
import sys
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from moorage.errors import TargetError
from moorage.protocol.target_faults import SPELLING, similar_files, told_as_target_error

CONVENTIONAL_NAMES: Final = ("mcp", "server", "app")
"""Where a server is looked for when a target names none."""

_ACCEPTED: Final = (
    "a target is a mcp.server.mcpserver.MCPServer, a mcp.server.lowlevel.Server, or a plain function without arguments that returns one"
)


def load_target(spec: str) -> Any:
    """Import what `spec` names and return the server object.

    The current directory is importable for modules, the file's own directory for a file.

    Raises:
        TargetError: Nothing is there, it cannot be imported, or it is no server.
    """
    place, attribute = _split(spec)
    with _logging_as_it_was():
        module = _load_file(place) if _is_path(place) else _load_module(place)
        found, name = (_attribute(module, attribute, place), attribute) if attribute else _conventional(module, place)
        return _server(found, f"{place}:{name}", Path(module.__file__ or ".").resolve().parent)


def _split(spec: str) -> tuple[str, str]:
    place, colon, attribute = spec.rpartition(":")
    if not colon:
        place, attribute = spec, ""
    names = attribute.split(".") if colon else []
    if not place.strip() or not all(name.isidentifier() for name in names):
        raise TargetError(f"{spec!r} is not a target", SPELLING)
    return place, attribute


def _is_path(place: str) -> bool:
    return place.endswith(".py") or os.sep in place


def _load_file(place: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise TargetError(f"there is no file {place} (looked for {path}){similar_files(path)}", SPELLING)
    if path.suffix != ".py":
        raise TargetError(f"{place} is not a Python file: its name does not end in .py", SPELLING)
    name = _free_name(path)
    if name in sys.modules:
        return sys.modules[name]
    _make_importable(path.parent)
    loader = SourceFileLoader(name, str(path))
    specification = ModuleSpec(name, loader, origin=str(path))
    specification.has_location = True
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        with told_as_target_error(place, path.parent):
            loader.exec_module(module)
    except TargetError:
        del sys.modules[name]
        raise
    return module


def _free_name(path: Path) -> str:
    """Return the file's own name as a module, unless another module has it: `mcp.py` must not replace the SDK."""
    own = path.stem
    loaded = sys.modules.get(own)
    if loaded is not None:
        free = getattr(loaded, "__file__", None) == str(path)
    else:
        installed = importlib.util.find_spec(own) if own.isidentifier() else None
        free = own.isidentifier() and (installed is None or installed.origin == str(path))
    return own if free else f"moorage_target_{zlib.crc32(os.fsencode(path)):08x}"


def _load_module(place: str) -> ModuleType:
    if not all(name.isidentifier() for name in place.split(".")):
        raise TargetError(f"{place!r} is neither a module nor a path to a .py file", SPELLING)
    here = Path.cwd()
    _make_importable(here)
    try:
        with told_as_target_error(place, here):
            return importlib.import_module(place)
    except TargetError as exc:
        cause = exc.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and (place == cause.name or place.startswith(cause.name + ".")):
            near = similar_files(here / f"{cause.name.rpartition('.')[2]}.py")
            raise TargetError(f"there is no module {cause.name} in {here} or among the installed packages{near}", SPELLING) from cause
        raise


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _attribute(module: ModuleType, attribute: str, place: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise TargetError(f"{place} has no {attribute}; {_instead(module, attribute)}", _ACCEPTED)
        found = getattr(found, name)
    return found


def _instead(module: ModuleType, wanted: str) -> str:
    servers = _servers_in(module)
    if servers:
        return f"it has the server{'s' if len(servers) > 1 else ''} {_listed(servers)}"
    public = [name for name in vars(module) if not name.startswith("_")]
    near = difflib.get_close_matches(wanted, public, n=2)
    return f"no MCP server is in it, the nearest name is {_listed(near)}" if near else "no MCP server is in it"


def _conventional(module: ModuleType, place: str) -> tuple[Any, str]:
    servers = _servers_in(module)
    for name in (*CONVENTIONAL_NAMES, *(servers if len(servers) == 1 else [])):
        if name in servers:
            return getattr(module, name), name
    for name in CONVENTIONAL_NAMES:  # a factory, or something that is worth a better message
        if hasattr(module, name) and not isinstance(getattr(module, name), ModuleType):
            return getattr(module, name), name
    if servers:
        raise TargetError(f"{place} has the servers {_listed(servers)}: say which", f"for example {place}:{servers[0]}")
    raise TargetError(f"no MCP server is in {place} (looked for {_listed(CONVENTIONAL_NAMES)}, then for any server)", _ACCEPTED)


def _servers_in(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if not name.startswith("_") and _is_server(value)]


def _is_server(value: object) -> bool:
    # Here and not above: the SDK is slow to import, and saying that a file is missing needs none of it.
    from mcp.server.lowlevel.server import Server
    from mcp.server.mcpserver import MCPServer

    return isinstance(value, MCPServer | Server)


def _server(found: Any, name: str, root: Path) -> Any:
    if _is_server(found):
        return found
    made = _call_factory(cast("Callable[[], Any]", found), name, root) if _is_factory(found) else found
    if _is_server(made):
        return made
    if inspect.iscoroutine(made):
        made.close()
        raise TargetError(f"{name} is an async function", _ACCEPTED)
    subject = f"{name} returned {_described(made)}" if made is not found else f"{name} is {_described(found)}"
    raise TargetError(f"{subject}, not an MCP server of the SDK", _foreign_hint(made))


def _is_factory(found: object) -> bool:
    return inspect.isfunction(found) or inspect.isclass(found) or inspect.ismethod(found) or type(found).__name__ == "partial"


def _call_factory(factory: Callable[[], Any], name: str, root: Path) -> Any:
    try:
        required = [
            parameter.name
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):
        required = []
    if required:
        raise TargetError(f"{name} cannot be called without arguments: it needs {_listed(required)}", _ACCEPTED)
    with told_as_target_error(f"{name}()", root):
        return factory()


def _described(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:60]
    kind = type(value)
    return f"a {kind.__name__} ({kind.__module__})"


def _foreign_hint(value: object) -> str:
    if type(value).__module__.partition(".")[0] == "fastmcp":
        return f"the fastmcp package has server objects of its own, which cannot be served here; {_ACCEPTED}"
    return _ACCEPTED


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


@contextmanager
def _logging_as_it_was() -> Generator[None]:
    """Keep `MCPServer` from configuring the process's logging, which it does when it finds the root logger without a handler."""
    root = logging.getLogger()
    guard = logging.NullHandler()
    if not root.handlers:
        root.addHandler(guard)
    try:
        yield
    finally:
        root.removeHandler(guard)
