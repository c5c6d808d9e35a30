"""Parsers of the command line: arguments with values, given once, and the group that belongs to a sweep."""

import argparse
import re
import shlex
from typing import Any, NoReturn

from recbole_unlearn.errors import UsageError
from recbole_unlearn.sweep.space import SCHEDULERS, SEARCHES


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


def of_a_sweep() -> OnceParser:
    """A parser of the arguments that only :func:`~recbole_unlearn.quick_start.run_sweep` takes."""
    parser = OnceParser(add_help=False, allow_abbrev=False)
    sweep = parser.add_argument_group("search of settings with Ray Tune, on simulated requests and validation data")
    sweep.add_argument("--params_file", help="search space, e.g. hyper.test; settings on the command line are fixed")
    sweep.add_argument("--num_samples", type=count, help="trials (default 20)")
    sweep.add_argument("--search", choices=SEARCHES, help="where trials come from (default random)")
    sweep.add_argument("--scheduler", choices=SCHEDULERS, help="asha (default) stops the worse trials early")
    sweep.add_argument("--tune_metric", help="what is searched for (default objective; less is better)")
    sweep.add_argument(
        "--tune_mode", choices=["min", "max"], help="whether another metric is better if smaller or larger"
    )
    sweep.add_argument(
        "--simulated", type=lambda text: text.split(","), help="kinds of simulated requests, e.g. adversarial,random"
    )
    sweep.add_argument(
        "--held_back",
        type=count_or_zero,
        help="rounds of other requests to compare the best with the given settings on (default 1)",
    )
    sweep.add_argument(
        "--resume", action="store_const", const=True, help="continue the same sweep, or add samples to it"
    )
    sweep.add_argument("--storage_path", help="folder of all sweeps (default CHECKPOINT_DIR/sweep)")
    sweep.add_argument(
        "--ray_address",
        help="running Ray cluster, e.g. auto or 10.0.0.1:6379 (default: this machine); also of runs without a search",
    )
    sweep.add_argument(
        "--resources_per_trial", type=resources_of, help="e.g. cpu:2,gpu:0.5 (default cpu:1, and a GPU if there is one)"
    )
    return parser


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
