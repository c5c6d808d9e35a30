"""What the commands' parsers share: arguments with values, given once; settings; kinds of values."""

import argparse
import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from recbole_unlearn.errors import UsageError


class Once(argparse.Action):
    """An option with a value that a second one must not replace silently."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) not in (self.default, values):
            raise UsageError(f"Argument '{option_string}' is given twice, with different values.")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are :class:`UsageError`, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[0].upper()}{message[1:]}.")


class OnceParser(Parser):
    """A parser that takes each option with a value once only."""

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self.register("action", None, Once)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The arguments that name the backbone, the data and the files of a run."""
    parser.add_argument("--model", "-m", help="backbone, e.g. SimGCL; `run-unlearn list models` names them")
    parser.add_argument("--dataset", "-d", help="dataset, e.g. ml-100k (comes with RecBole)")
    parser.add_argument("--config_files", type=str.split, help="yaml files, separated by spaces")
    add_import(parser)


def add_import(parser: argparse.ArgumentParser) -> None:
    """The argument that brings a user's own classes."""
    parser.add_argument(
        "--import",
        type=words,
        default=[],
        help="Python files with models and methods of your own, e.g. mine.py",
    )


def names_of(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of a parser, without dashes."""
    return {option[2:] for action in parser._actions for option in action.option_strings if option.startswith("--")}


def settings_of(others: Sequence[str], switches: Callable[[], Iterable[str]]) -> dict[str, str]:
    """Settings from the arguments that no parser knows: ``--key=value`` or ``--key value``.

    Args:
        others: in the order given.
        switches: gives the options without a value, one of which may be meant; only an error asks for them.

    Raises:
        UsageError: an argument is neither, or a key comes twice with different values.
    """
    settings: dict[str, str] = {}
    rest = list(others)
    while rest:
        argument = rest.pop(0)
        key, equals, value = argument.partition("=")
        if key.startswith("--") and not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        elif not key.startswith("--") or not equals:
            close = difflib.get_close_matches(argument, [f"--{name}" for name in switches()], n=1, cutoff=0.75)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise UsageError(f"Argument '{argument}' is not of the form --key=value.{hint}")
        if settings.setdefault(key[2:], value) != value:
            raise UsageError(f"Argument '{key}' is given twice, as '{settings[key[2:]]}' and '{value}'.")
    return settings


def count(text: str, least: int = 1) -> int:
    """A whole number >= ``least``."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number >= {least}")
    return int(text)


def count_or_zero(text: str) -> int:
    """A whole number >= 0."""
    return count(text, least=0)


def resources_of(text: str) -> dict[str, float]:
    """Amounts by ``cpu`` and ``gpu``, from e.g. ``cpu:2,gpu:0.5``."""
    resources = {}
    for part in text.split(","):
        name, _, amount = part.partition(":")
        if name not in ("cpu", "gpu") or not re.fullmatch(r"\d+(\.\d+)?", amount) or not float(amount):
            raise argparse.ArgumentTypeError(f"'{text}' is not of the form cpu:2,gpu:0.5")
        resources[name] = float(amount)
    return resources


def words(text: str) -> list[str]:
    """Names separated by spaces; a name with spaces is in quotes."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' has a quote that is not closed ({error})") from None


def different_seeds(text: str) -> list[int]:
    """Different whole numbers, from e.g. ``1,2,3``."""
    seeds = text.split(",")
    if not all(seed.isdecimal() for seed in seeds) or len(set(map(int, seeds))) < len(seeds):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of different whole numbers, e.g. 1,2,3")
    return [int(seed) for seed in seeds]


def seconds(text: str) -> float:
    """A number of seconds >= 0."""
    if not re.fullmatch(r"\d+(\.\d*)?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return float(text)
