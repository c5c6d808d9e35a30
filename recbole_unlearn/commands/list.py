"""List the models, methods, metrics, datasets or settings that there are, with their meaning."""

import argparse
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import recbole
from recbole.evaluator.register import metrics_dict

from recbole_unlearn.arguments import add_import
from recbole_unlearn.declarations import declarations
from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.lists import jaccard, rank_biased_overlap
from recbole_unlearn.evaluator.metrics import matched_aucs, mi_bf, mi_ng
from recbole_unlearn.files.yaml_file import read_yaml
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.settings import defaults, kinds, words

EXAMPLES = """
  run-unlearn list models
  run-unlearn list settings ie_
"""
MEASURES = {"MI-BF": mi_bf, "MI-NG": mi_ng, "AUC_FN, AUC_FT": matched_aucs, "Jaccard": jaccard}
MEASURES |= {"RBO": rank_biased_overlap}
WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    parser.add_argument("what", choices=KINDS, help="what to list")
    parser.add_argument("begins_with", nargs="?", default="", help="only names that begin so, in either case")
    parser.add_argument("--data_path", default="dataset", help="folder of datasets (default dataset)")
    add_import(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each name.

    Raises:
        UsageError: no name begins as asked.
    """
    entries = KINDS[arguments.what](arguments)
    start = arguments.begins_with.lower()
    shown = [(name, meaning) for name, meaning in entries if name.lower().startswith(start)]
    if not shown:
        raise UsageError(f"None of the {arguments.what} begins with '{arguments.begins_with}'.")
    column = 2 + min(32, max(len(name) for name, _ in shown))
    for name, meaning in shown:
        lines = textwrap.wrap(meaning, WIDTH - column) or [""]
        head = [name.ljust(column) + lines[0]] if len(name) < column else [name, " " * column + lines[0]]
        print("\n".join([*head, *(" " * column + line for line in lines[1:])]).rstrip())
    return 0


def _models(_: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Shipped ones with their papers."""
    shipped = MODELS.shipped()
    for name in MODELS:
        cls = MODELS[name]
        yield name, (sys.modules[cls.__module__].__doc__ or "").strip() if name in shipped else first_sentence(cls)


def _methods(_: argparse.Namespace) -> Iterator[tuple[str, str]]:
    return ((name, first_sentence(METHODS[name])) for name in METHODS)


def _metrics(_: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """RecBole's for ``metrics``, then those of every report."""
    for metric in metrics_dict.values():
        yield metric.__name__, f"for --metrics: {first_sentence(metric).replace('_ ', ' ')}"
    for name, function in MEASURES.items():
        yield name, f"in every report: {first_sentence(function)}"


def _datasets(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Those in the folder, the one that comes with RecBole, and those that RecBole downloads."""
    folder = Path(arguments.data_path)
    here = {path.parent.name for path in folder.glob("*/*.inter") if path.stem == path.parent.name}
    packaged = Path(recbole.__file__).parent
    shipped = {path.name for path in (packaged / "dataset_example").iterdir() if path.is_dir()}
    urls = packaged / "properties" / "dataset" / "url.yaml"
    for name in sorted(here):
        yield name, f"in {folder}"
    for name in sorted(shipped - here):
        yield name, "comes with RecBole"
    for name in sorted(set(map(str, read_yaml(urls))) - here - shipped):
        yield name, f"RecBole downloads it into {folder}"


def _settings(_: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The plugin's, and RecBole's that the plugin gives a default or checks."""
    own: list[type[Any]] = [*MODELS.own(MODELS), *METHODS.own(METHODS)]
    found: dict[str, str] = {}
    for declaration in declarations(own):
        values, kinds_of = defaults(declaration), kinds(declaration)
        for name, field in declaration.model_fields.items():
            meaning = f"{field.description or ''} ({words(kinds_of[name])}"
            default = f"; default {values[name]!r})" if name in values else ")"
            found.setdefault(name, f"{meaning}{default}".strip())
    yield from sorted(found.items())


KINDS = {
    "models": _models,
    "methods": _methods,
    "metrics": _metrics,
    "datasets": _datasets,
    "settings": _settings,
}


def first_sentence(documented: Any) -> str:
    """The first paragraph of a docstring, up to its first full stop."""
    text = " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].removesuffix(".") + "." if text else ""
