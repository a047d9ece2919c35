"""Writes every file of the repository that follows from another, or checks that they are up to date.

`python -m scripts.generate` writes; with `--check` it writes nothing, names what differs and ends with 1. Owns the list of generators and
the comparison. A generator is a function that returns (path, text) pairs and depends on the sources alone; add one to `GENERATORS`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import chart, reference

ROOT = Path(__file__).resolve().parent.parent
Texts = Iterable[tuple[Path, str]]


@dataclass(frozen=True, slots=True)
class Generator:
    """A source of files.

    Attributes:
        texts: Returns each file with its text.
        owns: Directories in which no other file may be; one that is left over there is a difference too.
    """

    texts: Callable[[], Texts]
    owns: tuple[Path, ...] = ()


GENERATORS: Sequence[Generator] = (
    Generator(reference.generated),
    Generator(lambda: chart.generated(reference.config_schema()), owns=(chart.BASE,)),
)


def differences(generators: Sequence[Generator]) -> Iterator[tuple[Path, str | None]]:
    """Each file that is not as it should be, with the text it should have; None is a file that should not be there."""
    for generator in generators:
        texts = dict(generator.texts())
        for path, text in texts.items():
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                yield path, text
        for folder in generator.owns:
            yield from ((path, None) for path in sorted(folder.rglob("*")) if path.is_file() and path not in texts)


def write(path: Path, text: str | None) -> None:
    """Bring one file to the state it should have."""
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None, *, generators: Sequence[Generator] = GENERATORS, root: Path = ROOT) -> int:
    """Generate, or check; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.generate", description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing; name what differs and end with 1")
    check = parser.parse_args(arguments).check
    found = list(differences(generators))
    for path, text in found:
        name = path.relative_to(root)
        if check:
            print(f"{name} {'is left over' if text is None else 'is not what its source says'}: run make generate", file=sys.stderr)
        else:
            write(path, text)
            print(f"{'removed' if text is None else 'wrote'} {name}")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
