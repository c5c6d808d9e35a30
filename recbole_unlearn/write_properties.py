"""Writes the yaml of ``properties/`` that follows from the declarations: ``python -m recbole_unlearn.write_properties``.

The files of a dataset, of a setting of the paper, and of a method with one backbone (``UnlearnRec-SGL.yaml``) are
written by hand.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from recbole_unlearn.declarations import Overall
from recbole_unlearn.known_settings import properties_folder
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.settings import Settings, defaults, kinds, sections, type_names

COLUMN = 36  # where comments begin


def properties() -> dict[str, str]:
    """The text of each file by its path in ``properties/``."""
    files = {"overall.yaml": as_yaml("overall", Overall)}
    for kind, registry in (("model", MODELS), ("method", METHODS)):
        files |= {f"{kind}/{name}.yaml": as_yaml(name, registry[name].settings) for name in registry.shipped()}
    return files


def as_yaml(name: str, declaration: type[Settings]) -> str:
    """A declaration as commented yaml, one section for each class that declares something.

    Args:
        name: of the method, for the comment if it has no settings.
        declaration: its settings.
    """
    values, types = defaults(declaration), kinds(declaration)
    parts = []
    for heading, names in sections(declaration):
        lines = [f"# {line}".rstrip() if line else "" for line in heading.splitlines()]
        for each in names:
            types_of_it = " or ".join(type_names(types[each]))
            comment = f"# ({types_of_it}) {declaration.model_fields[each].description}"
            lines.append(f"{f'{each}: {_scalar(values[each])}':<{COLUMN - 2}}  {comment}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts) or f"# {name} has no settings of its own.\n"


def _scalar(value):
    if value is None:
        return "~"
    if isinstance(value, bool):
        return str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def stale(folder: Path, files: dict[str, Any]) -> list[str]:
    """The files of a folder whose text is another, or that are missing."""
    paths = {name: folder / name for name in files}
    return [
        name for name, path in paths.items() if not path.is_file() or path.read_text(encoding="utf-8") != files[name]
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files; with ``--check`` only name the stale ones, with exit code 1 if there are some."""
    parser = argparse.ArgumentParser(prog="write_properties", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    check = parser.parse_args(arguments).check
    folder, files = properties_folder(), properties()
    names = stale(folder, files)
    for name in names:
        print(f"{'stale' if check else 'written'}: {folder / name}")
        if not check:
            (folder / name).write_text(files[name], encoding="utf-8")
    sys.exit(bool(check and names))


if __name__ == "__main__":
    main()
