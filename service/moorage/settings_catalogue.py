"""What can be set, under all the names by which it is known.

Owns the catalogue that the sources, the command line and the generated reference read from the tree: path, variable, type, range, unit,
reason. Promises the order of the tree, and that a secret is shown to nobody. Leaves the fields to `settings`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, cast, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from moorage.settings import Section, Settings

PREFIX: Final = "MOORAGE_"
HIDDEN: Final = "(hidden)"


@dataclass(frozen=True, slots=True)
class Known:
    """A setting, under all its names.

    Attributes:
        path: `section.field`, as in the YAML file and after `--set`.
        variable: The environment variable.
        kind: The type, without None.
        optional: Whether it may be without a value.
        field: Range, unit, description and reason.
    """

    path: str
    variable: str
    kind: Any
    optional: bool
    field: FieldInfo

    @property
    def secret(self) -> bool:
        """Whether the value is never shown."""
        return self.kind is SecretStr

    @property
    def unit(self) -> str | None:
        """What the number counts."""
        return cast("dict[str, Any]", self.field.json_schema_extra)["unit"]

    @property
    def reason(self) -> str:
        """Why the default is what it is."""
        return cast("dict[str, Any]", self.field.json_schema_extra)["reason"]

    def limit(self, name: Literal["ge", "le"]) -> float | None:
        """Return the smallest or the largest number that is allowed."""
        return next((getattr(item, name) for item in self.field.metadata if hasattr(item, name)), None)

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.kind is bool:
            return "true or false"
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(get_args(self.kind))
        if get_origin(self.kind) is tuple:
            return "a list (in a variable: separated by commas)"
        if self.kind in (int, float):
            noun = "a whole number" if self.kind is int else "a number"
            return f"{noun} from {self.limit('ge'):g} to {self.limit('le'):.15g}"
        return "text"

    def show(self, value: object) -> str:
        """Write a value for people; a secret stays hidden."""
        if value is None:
            return ""
        if self.secret:
            return HIDDEN
        if isinstance(value, str):
            return repr(value)
        if get_origin(self.kind) is tuple and isinstance(value, list | tuple):
            return ",".join(_shape(entry) or str(entry) for entry in cast("Iterable[object]", value))
        return _shape(value) or text_of(value)


@cache
def known_settings() -> dict[str, Known]:
    """Return every setting by its path, in the order of the tree."""
    return {known.path: known for known in _walk()}


def value_of(settings: Settings, path: str) -> object:
    """Return the value at `section.field`."""
    value: object = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def text_of(value: object) -> str:
    """Write a value as an environment variable holds it; a secret is written out."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ",".join(str(entry) for entry in cast("list[object]", value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _shape(value: object) -> str:
    """Name what stands where one value should; its content says nothing, and can be without end."""
    if isinstance(value, int) and value.bit_length() > 1024:
        return "a huge number"  # Python refuses to write one of more than 4300 digits
    if isinstance(value, list | tuple | set):
        return "a list"
    return "a mapping" if isinstance(value, dict) else ""


def _walk() -> Iterator[Known]:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, inner_field in section.model_fields.items():
                yield _known(f"{name}.{inner}", inner_field)
        else:
            yield _known(name, field)


def _known(path: str, field: FieldInfo) -> Known:
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    optional = type(None) in get_args(field.annotation)
    variable = PREFIX + path.replace(".", "__").upper()
    return Known(path, variable, kinds[0] if optional else field.annotation, optional, field)
