"""Generated files say what their sources say, and a difference is named."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from moorage.cli import cli
from moorage.settings import Settings
from moorage.settings_catalogue import Known, known_settings
from scripts import generate, reference
from scripts.generate import Generator

TYPED_BY_THE_CHART = [known for known in known_settings().values() if known.path not in reference.WRITTEN_BY_THE_CHART]
NUMBERS = [known for known in TYPED_BY_THE_CHART if known.kind in (int, float)]


def refused(config: Any) -> bool:
    return not jsonschema.Draft202012Validator(reference.config_schema()).is_valid(config)


def config_of(known: Known, value: object) -> dict[str, dict[str, object]]:
    section, _, name = known.path.partition(".")
    return {section: {name: value}}


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, list[Generator]]:
    return tmp_path, [Generator(lambda: [(tmp_path / "owned" / "a.txt", "a"), (tmp_path / "b.txt", "b")], owns=(tmp_path / "owned",))]


def test_what_is_written_is_then_in_order(tree: tuple[Path, list[Generator]], capsys: pytest.CaptureFixture[str]) -> None:
    root, generators = tree
    assert generate.main(["--check"], generators=generators, root=root) == 1
    assert capsys.readouterr().err.splitlines() == [
        "owned/a.txt is not what its source says: run make generate",
        "b.txt is not what its source says: run make generate",
    ]
    assert not list(root.iterdir())
    assert generate.main([], generators=generators, root=root) == 0
    assert generate.main(["--check"], generators=generators, root=root) == 0


def test_a_changed_file_is_a_difference_and_is_written_again(
    tree: tuple[Path, list[Generator]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, generators = tree
    generate.main([], generators=generators, root=root)
    (root / "b.txt").write_text("changed by hand")
    assert generate.main(["--check"], generators=generators, root=root) == 1
    assert "b.txt" in capsys.readouterr().err
    generate.main([], generators=generators, root=root)
    assert (root / "b.txt").read_text() == "b"


def test_a_file_that_no_generator_writes_any_more_is_left_over(
    tree: tuple[Path, list[Generator]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, generators = tree
    generate.main([], generators=generators, root=root)
    (root / "owned" / "old.txt").write_text("old")
    (root / "foreign.txt").write_text("not owned by a generator")
    assert generate.main(["--check"], generators=generators, root=root) == 1
    assert capsys.readouterr().err == "owned/old.txt is left over: run make generate\n"
    generate.main([], generators=generators, root=root)
    assert not (root / "owned" / "old.txt").exists()
    assert (root / "foreign.txt").exists()


def test_the_references_in_the_repository_are_up_to_date() -> None:
    assert list(generate.differences([Generator(reference.generated)])) == []


@pytest.mark.parametrize("known", known_settings().values(), ids=lambda known: known.path)
def test_the_reference_tells_of_each_setting(known: Known) -> None:
    [row] = [line for line in reference.settings_page() if line.startswith(f"| `{known.path}`")]
    assert f"`{known.variable}`" in row
    assert known.allowed in row
    assert known.reason in row
    assert (known.unit or "") in row.lower()


def test_the_reference_tells_of_each_command() -> None:
    page = "\n".join(reference.cli_page())
    for command in ("serve", "dev", "config", "keys new", "keys hash", "version"):
        assert f"## moorage {command}\n" in page
        assert (
            CliRunner().invoke(cli, [*command.split(), "-h"], prog_name="moorage", terminal_width=100, max_content_width=100).stdout in page
        )


def test_the_schema_is_one_and_accepts_the_defaults() -> None:
    schema = reference.config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults = json.loads(Settings().model_dump_json())
    for path in reference.WRITTEN_BY_THE_CHART:
        section, _, name = path.rpartition(".")
        del (defaults[section] if section else defaults)[name]
    assert not refused(defaults)
    assert not refused({})


@pytest.mark.parametrize(
    "path", ["servre", "server.prot", "security.allow_anonymous", "security.api_keys", "security.api_keys_file", "target"]
)
def test_the_schema_refuses_what_is_no_setting_or_not_for_the_chart_to_take(path: str) -> None:
    section, _, name = path.rpartition(".")
    assert refused({section: {name: "x"}} if section else {name: "x"})


@pytest.mark.parametrize("known", NUMBERS, ids=lambda known: known.path)
def test_the_schema_has_the_range_of_the_service(known: Known) -> None:
    least, most = known.limit("ge"), known.limit("le")
    assert least is not None
    assert most is not None
    assert not refused(config_of(known, least))
    assert not refused(config_of(known, most))
    assert refused(config_of(known, least - 1))
    assert refused(config_of(known, most + 1))
    assert refused(config_of(known, "1"))


@pytest.mark.parametrize("known", [known for known in TYPED_BY_THE_CHART if known not in NUMBERS], ids=lambda known: known.path)
def test_the_schema_has_the_type_of_the_service(known: Known) -> None:
    assert refused(config_of(known, 7))
    assert refused(config_of(known, [7]))
