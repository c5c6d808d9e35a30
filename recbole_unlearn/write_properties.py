"""Writes the yaml of ``properties/`` from the declarations: ``python -m recbole_unlearn.write_properties``.

The files of a dataset, of a setting of the paper, and of a method with one backbone (``METHOD-BACKBONE.yaml``) are
written by hand.
"""

import argparse
import sys
from collections.abc import Sequence

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
    """A declaration as commented yaml, a section for each class that declares something.

    Args:
        name: of the backbone or method, for the comment if it has no settings.
        declaration: its settings.
    """
    values, kinds_of = defaults(declaration), kinds(declaration)
    parts = []
    for heading, names in sections(declaration):
        lines = [line and f"# {line}" for line in heading.splitlines()]
        for key in names:
            comment = f"({' or '.join(type_names(kinds_of[key]))}) {declaration.model_fields[key].description}"
            lines.append(f"{f'{key}: {_scalar(values[key])}':<{COLUMN - 2}}  # {comment}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts) or f"# {name} has no settings of its own.\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files that are stale; with ``--check`` name them, and exit with 1 if there are some."""
    parser = argparse.ArgumentParser(prog="write_properties", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    check = parser.parse_args(arguments).check
    texts = {properties_folder() / name: text for name, text in properties().items()}
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path}")
        if not check:
            path.write_text(texts[path], encoding="utf-8")
    sys.exit(bool(check and stale))


def _scalar(value):
    if value is None or isinstance(value, bool):
        return "~" if value is None else str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=1_000).removesuffix("...\n").strip()


if __name__ == "__main__":
    main()
