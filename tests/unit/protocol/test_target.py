"""A target becomes the server object it names; whatever cannot be loaded gets one clear line."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer

from moorage.errors import TargetError
from moorage.protocol.target import load_target

SERVER = "from mcp.server.mcpserver import MCPServer\n{} = MCPServer({!r})\n"
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory of its own; what a target leaves in the interpreter goes away with it."""
    before, modules = sys.path[:], set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def refusal(spec: str) -> TargetError:
    with pytest.raises(TargetError) as caught:
        load_target(spec)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_a_module_in_the_current_directory_is_served(write: Write) -> None:
    write("tools_a.py", SERVER.format("mcp", "a"))
    loaded = load_target("tools_a:mcp")
    assert isinstance(loaded, MCPServer)
    assert loaded.name == "a"


def test_a_module_in_a_package_is_served_with_its_relative_imports(write: Write) -> None:
    write("pkg_a/__init__.py", "")
    write("pkg_a/names.py", "NAME = 'deep'")
    write("pkg_a/server.py", "from mcp.server.mcpserver import MCPServer\nfrom .names import NAME\nclass box:\n    mcp = MCPServer(NAME)\n")
    assert load_target("pkg_a.server:box.mcp").name == "deep"


def test_a_file_is_served_with_its_neighbours(write: Write) -> None:
    write("elsewhere/neighbour_a.py", "NAME = 'near'")
    path = write("elsewhere/tools_b.py", "import neighbour_a\n" + SERVER.format("mcp", "b").replace("'b'", "neighbour_a.NAME"))
    assert load_target(f"{path}:mcp").name == "near"
    assert load_target("elsewhere/tools_b.py:mcp") is load_target(str(path))


@pytest.mark.parametrize("attribute", ["mcp", "server", "app", "unusual"])
def test_a_file_without_an_attribute_is_searched(attribute: str, write: Write) -> None:
    path = write(f"found_{attribute}.py", SERVER.format(attribute, attribute))
    assert load_target(str(path)).name == attribute
    assert load_target(f"found_{attribute}").name == attribute


def test_the_conventional_name_wins_over_other_servers(write: Write) -> None:
    path = write("two_a.py", SERVER.format("other", "other") + SERVER.format("mcp", "mine"))
    assert load_target(str(path)).name == "mine"


def test_a_low_level_server_is_served(write: Write) -> None:
    write("low.py", "from mcp.server.lowlevel.server import Server\nserver = Server('low')\n")
    assert isinstance(load_target("low:server"), Server)


@pytest.mark.parametrize(
    "factory",
    [
        "def make():\n    return MCPServer('made')",
        "def make(name='made'):\n    return MCPServer(name)",
        "class make(MCPServer):\n    def __init__(self):\n        super().__init__('made')",
        "import functools\nmake = functools.partial(MCPServer, 'made')",
    ],
)
def test_a_factory_is_called(factory: str, write: Write, request: pytest.FixtureRequest) -> None:
    name = f"factory_{abs(hash(request.node.name))}"
    write(f"{name}.py", f"from mcp.server.mcpserver import MCPServer\n{factory}\n")
    assert load_target(f"{name}:make").name == "made"


def test_a_file_that_is_called_like_the_sdk_does_not_replace_it(write: Write) -> None:
    path = write("mcp.py", SERVER.format("mcp", "same name"))
    assert load_target(str(path)).name == "same name"
    assert sys.modules["mcp"].__file__ != str(path)


def test_a_file_whose_name_is_no_module_name_is_served(write: Write) -> None:
    path = write("my-tools.v1.py", SERVER.format("mcp", "dashes"))
    assert load_target(str(path)).name == "dashes"


def test_two_files_of_one_name_are_two_modules(write: Write) -> None:
    first, second = write("one/same.py", SERVER.format("mcp", "one")), write("two/same.py", SERVER.format("mcp", "two"))
    assert [load_target(str(path)).name for path in (first, second, first)] == ["one", "two", "one"]


@pytest.mark.parametrize("configured", [True, False])
def test_loading_leaves_logging_as_it_was(configured: bool, write: Write) -> None:
    name = f"logs_{configured}".lower()
    write(f"{name}.py", SERVER.format("mcp", "x"))
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        root.handlers[:] = handlers = [logging.NullHandler()] if configured else []
        load_target(f"{name}:mcp")
        assert root.handlers == handlers
        assert root.level == level
    finally:
        root.handlers[:] = before


@pytest.mark.parametrize("spec", ["", ":", ":mcp", "tools:", "tools:a b", "tools.py:1", "to ols", "tools:a..b"])
def test_what_is_no_target_is_refused(spec: str) -> None:
    error = refusal(spec)
    assert repr(spec) in error.message
    assert error.hint == "write TARGET as module:attribute or path/to/file.py[:attribute]"


def test_a_missing_file_is_named_with_what_is_there(write: Write, folder: Path) -> None:
    write("tools.py", "")
    write("unrelated.txt", "")
    assert refusal("tool.py:mcp").message == f"there is no file tool.py (looked for {folder}/tool.py); there is tools.py"
    assert (
        refusal("no/tool.py").message
        == f"there is no file no/tool.py (looked for {folder}/no/tool.py); there is no directory {folder}/no either"
    )


def test_what_is_not_python_is_refused(write: Write, folder: Path) -> None:
    write("sub/tools.txt", "")
    assert refusal("sub/tools.txt").message == "sub/tools.txt is not a Python file: its name does not end in .py"
    assert refusal("./sub").message.startswith(f"there is no file ./sub (looked for {folder}/sub)")


def test_a_missing_module_is_named_with_what_is_there(write: Write, folder: Path) -> None:
    write("tools_c.py", "")
    assert refusal("tool_c:mcp").message == f"there is no module tool_c in {folder} or among the installed packages; there is tools_c.py"
    assert "there is no module tools_c.mcp in" in refusal("tools_c.mcp:mcp").message


def test_a_missing_attribute_is_answered_with_the_servers_that_are_there(write: Write) -> None:
    write("tools_d.py", SERVER.format("first", "1") + SERVER.format("second", "2"))
    assert refusal("tools_d:mcp").message == "tools_d has no mcp; it has the servers first, second"
    write("tools_e.py", "mpc = 1\n")
    assert refusal("tools_e:mcp").message == "tools_e has no mcp; no MCP server is in it, the nearest name is mpc"
    write("tools_f.py", "")
    assert refusal("tools_f.py:mcp").message == "tools_f.py has no mcp; no MCP server is in it"


def test_a_file_without_a_single_server_is_refused(write: Write) -> None:
    write("none_a.py", "x = 1\n")
    assert refusal("none_a.py").message == "no MCP server is in none_a.py (looked for mcp, server, app, then for any server)"
    write("two_b.py", SERVER.format("first", "1") + SERVER.format("second", "2"))
    error = refusal("two_b.py")
    assert error.message == "two_b.py has the servers first, second: say which"
    assert error.hint == "for example two_b.py:first"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "{}:mcp is 1, not an MCP server of the SDK"),
        ("object()", "{}:mcp is a object (builtins), not an MCP server of the SDK"),
        ("lambda: None", "{}:mcp returned None, not an MCP server of the SDK"),
        ("lambda tool, /, *, key: None", "{}:mcp cannot be called without arguments: it needs tool, key"),
        ("dict", "{}:mcp returned a dict (builtins), not an MCP server of the SDK"),
        ("print", "{}:mcp is a builtin_function_or_method (builtins), not an MCP server of the SDK"),
        ("__import__('fastapi').FastAPI()", "{}:mcp is a FastAPI (fastapi.applications), not an MCP server of the SDK"),
    ],
)
def test_something_else_is_said_to_be_what_it_is(value: str, message: str, write: Write, request: pytest.FixtureRequest) -> None:
    name = f"wrong_{abs(hash(request.node.name))}"
    write(f"{name}.py", f"mcp = {value}\n")
    for spec, place in ((f"{name}:mcp", name), (f"{name}.py", f"{name}.py")):
        error = refusal(spec)
        assert error.message == message.format(place)
        assert "mcp.server.mcpserver.MCPServer" in error.hint


def test_an_async_factory_is_refused(write: Write) -> None:
    write("later.py", "async def make():\n    return 1\n")
    assert refusal("later:make").message == "later:make is an async function"


def test_the_server_of_another_package_is_said_to_be_one(write: Write) -> None:
    write("fastmcp/__init__.py", "class FastMCP: ...\n")
    write("foreign.py", "from fastmcp import FastMCP\nmcp = FastMCP()\n")
    error = refusal("foreign:mcp")
    assert error.message == "foreign:mcp is a FastMCP (fastmcp), not an MCP server of the SDK"
    assert error.hint.startswith("the fastmcp package has server objects of its own")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("\nraise ValueError('no key\\nsecond line')", "ValueError: no key ({}, line 2)", ""),
        (
            "import json\njson.loads('{')",
            "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1) ({}, line 2)",
            "",
        ),
        ("def f():\n    raise KeyError\nf()", "KeyError ({}, line 2)", ""),
        ("x = (\n", "SyntaxError: '(' was never closed ({}, line 1)", ""),
        ("import sys\nsys.exit(3)", "it ended the process with sys.exit(3) ({}, line 2)", ""),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all' ({}, line 1)", "install what it imports"),
        ("from . import x", "ImportError: attempted relative import with no known parent package ({}, line 1)", "it is part of a package"),
        (
            "import asyncio, anyio\nasync def main():\n    anyio.run(main)\nasyncio.run(main())",
            "RuntimeError: Already running asyncio in this thread ({}, line 3)",
            "moorage runs the server",
        ),
    ],
)
@pytest.mark.parametrize("as_module", [True, False])
def test_what_the_targets_own_code_raises_is_one_line_with_its_place(
    text: str, message: str, hint: str, as_module: bool, write: Write, request: pytest.FixtureRequest
) -> None:
    name = f"broken_{abs(hash(request.node.name))}"
    path = write(f"{name}.py", text)
    error = refusal(f"{name}:mcp" if as_module else f"{name}.py:mcp")
    assert error.message == f"{name if as_module else path.name} failed: {message.format(path)}"
    assert error.hint.startswith(hint)
    assert bool(error.hint) == bool(hint)
    assert name not in sys.modules


def test_code_for_the_first_sdk_is_told_the_new_name(write: Write) -> None:
    write("old.py", "from mcp.server.fastmcp import FastMCP\n")
    assert "FastMCP is called MCPServer" in refusal("old:mcp").hint


def test_a_factory_that_fails_is_one_line_with_its_place(write: Write) -> None:
    path = write("failing.py", "def make():\n    raise RuntimeError('no database')\n")
    assert refusal("failing:make").message == f"failing:make() failed: RuntimeError: no database ({path}, line 2)"


def test_a_broken_file_can_be_mended_and_loaded_again(write: Write) -> None:
    path = write("mended.py", "raise ValueError")
    refusal(str(path))
    path.write_text("# longer than before, so that no stale bytecode is taken for it\n" + SERVER.format("mcp", "mended"))
    assert load_target(str(path)).name == "mended"
