"""A search space in RecBole's format, and the points that a sweep tries."""

import ast
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_unlearn.config import Config, method_defaults
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.method import METHODS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DRAWS_PER_SAMPLE = 10
LARGEST, LARGEST_LOGARITHM = 1e15, 34  # of a number in the file
SEARCHES, SCHEDULERS = ("random", "grid", "optuna"), ("asha", "none")
KINDS = {"choice": "[A,B,...]", "uniform": "LOW,HIGH", "loguniform": "LOW,HIGH", "quniform": "LOW,HIGH,STEP"}


@dataclass(frozen=True)
class SearchRange:
    """The values that a search may give a setting.

    Args:
        kind: one of ``KINDS``.
        values: the choices, or the bounds (and the step).
        whole: whether the numbers of a range are whole.
        line: its line in the file.
    """

    kind: str
    values: tuple
    whole: bool = False
    line: int = 0

    def bounds(self) -> tuple[float, float]:
        """The least and largest number of a range; multiples of the step for ``quniform``."""
        low, high, *step = self.values
        if self.kind == "loguniform":
            low, high = math.exp(low), math.exp(high)
        quantum = step[0] if step else 1 if self.whole else None
        if quantum:
            low, high = math.ceil(low / quantum - 1e-9) * quantum, math.floor(high / quantum + 1e-9) * quantum
        return self._number(low), self._number(high)

    def examples(self) -> tuple:
        """The choices, or the bounds: a setting that accepts these accepts the whole range."""
        return self.values if self.kind == "choice" else self.bounds()

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one value."""
        if self.kind == "choice":
            return self.values[rng.integers(len(self.values))]
        low, high = self.bounds()
        if self.kind == "loguniform":
            return self._number(math.exp(rng.uniform(math.log(low), math.log(high))))
        if self.kind == "quniform":
            step = self.values[2]
            return self._number(low + step * rng.integers(round((high - low) / step) + 1))
        return int(rng.integers(low, high + 1)) if self.whole else self._number(rng.uniform(low, high))

    def distribution(self) -> "BaseDistribution":
        """The range as Optuna's distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.values)
        low, high = self.bounds()
        if self.kind == "loguniform":
            return (IntDistribution if self.whole else FloatDistribution)(low, high, log=True)
        step = self.values[2] if self.kind == "quniform" else None
        return (
            IntDistribution(low, high, step=int(step or 1)) if self.whole else FloatDistribution(low, high, step=step)
        )

    def _number(self, number):
        """A number with six digits, so that people can type it again."""
        return round(number) if self.whole else float(f"{number:.6g}")


def points_of(space: Mapping[str, SearchRange], search: str, num_samples: int, seed: int) -> list[dict[str, Any]]:
    """The points to try; with one seed, a larger sample begins with the points of a smaller one.

    Args:
        space: of :func:`read_space`.
        search: ``grid`` for every combination, ``random`` for different draws.
        num_samples: number of draws.
        seed: of the draws.

    Raises:
        UsageError: the search is a grid, and the space has a range of numbers.
    """
    ranges = [key for key, values in space.items() if values.kind != "choice"]
    if search == "grid" and ranges:
        raise UsageError(f"--search=grid needs choices, but {', '.join(ranges)} has a range; use --search=random.")
    rng = np.random.default_rng(seed)
    if ranges:
        points = []
        for _ in range(DRAWS_PER_SAMPLE * num_samples):  # a space of few points may not have as many
            point = {key: values.draw(rng) for key, values in space.items()}
            if point not in points:
                points.append(point)
        return points[:num_samples]
    points = [dict(zip(space, point)) for point in product(*(values.values for values in space.values()))]
    return points if search == "grid" else [points[place] for place in rng.permutation(len(points))[:num_samples]]


def read_space(path: str | PathLike, method: str) -> dict[str, SearchRange]:
    """Read a space: one ``SETTING KIND VALUES`` per line; ``#`` begins a comment.

    ``choice [1,0.5]`` is one of a list, ``uniform LOW,HIGH`` a number between, ``quniform LOW,HIGH,STEP`` a multiple of
    the step, ``loguniform LOW,HIGH`` e to the power of a number between (``-8,0`` is 0.0003 to 1). The function
    executes nothing.

    Args:
        path: the file.
        method: the unlearning method whose settings the space may have; others would change the original model.

    Returns:
        Setting to range.

    Raises:
        UsageError: the file is missing or empty, or has a bad line, with its number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Sweep file '{path}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    defaults = method_defaults(method)
    space = {}
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split(maxsplit=2)
        if not words:
            continue
        try:
            if words[0] in space:
                raise UsageError(f"'{words[0]}' is there twice.")
            space[words[0]] = _values(words, defaults, number)
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
    if not space:
        raise UsageError(f"Sweep file '{path}' has no line `SETTING KIND VALUES`.")
    return space


def check_search(search: str, scheduler: str) -> None:
    """Refuse unknown searches and schedulers, and Optuna if it is not installed.

    Raises:
        UsageError: names those that exist.
    """
    for kind, name, choices in (("search", search, SEARCHES), ("scheduler", scheduler, SCHEDULERS)):
        if name not in choices:
            raise unknown(kind, name, choices)
    if search == "optuna" and importlib.util.find_spec("optuna") is None:
        raise UsageError("--search=optuna needs Optuna: pip install optuna.")


def check_space(
    space: Mapping[str, SearchRange], path: str | PathLike, settings: dict[str, Any], search: str = "random"
) -> None:
    """Refuse values that the settings of a run cannot take, and ranges that the search cannot try.

    Args:
        space: of :func:`read_space`.
        path: its file.
        settings: the others, for ``Config(stored=...)``.
        search: see :func:`points_of`.

    Raises:
        UsageError: names the line and what the setting takes.
    """
    if not space:
        raise UsageError(f"All settings of {path} are given on the command line: nothing left to search.")
    if search == "grid":
        points_of(space, search, 1, 0)
    for key, values in space.items():
        for value in values.examples():
            try:
                Config(config_dict={key: value}, stored=settings)
            except UsageError as error:
                raise UsageError(f"{path}, line {values.line}: {error}") from None


def swept_method(config: Config) -> str:
    """The method whose settings a sweep tries: the one of ``unlearn_methods``, or UnlearnRec if it is among several.

    Raises:
        UsageError: there are several methods without UnlearnRec, or less of ``valid_metric`` is better.
    """
    chosen = config["unlearn_methods"]
    if not config["valid_metric_bigger"]:
        raise UsageError(
            f"A sweep keeps `valid_metric` high, and less of {config['valid_metric']} is better: take another."
        )
    if len(chosen) > 1 and "UnlearnRec" not in chosen:
        raise UsageError(
            f"A sweep tries the settings of one method, not of {', '.join(chosen)}: --unlearn_methods=NAME."
        )
    return chosen[0] if len(chosen) == 1 else "UnlearnRec"


def with_whole_numbers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with 4.0 as 4 if the methods' yaml has a whole number; other tools' searches draw floats."""
    defaults = {key: value for name in METHODS for key, value in method_defaults(name).items()}
    whole = {key for key, value in defaults.items() if _is_number(value) and isinstance(value, int)}
    return {key: int(value) if key in whole and value == int(value) else value for key, value in settings.items()}


def _values(words, defaults, line):
    if len(words) < 3:
        raise UsageError("Expected `SETTING KIND VALUES`, e.g. `ie_rho choice [0.1,0.2]`.")
    key, kind, text = words
    if key not in defaults:
        raise unknown("setting to sweep", key, defaults)
    if kind not in KINDS:
        raise unknown("kind of values", kind, KINDS)
    try:
        values = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        values = None
    if kind == "choice":
        good = isinstance(values, list) and values and all(_replaces(defaults[key], value) for value in values)
        good = good and len(set(map(repr, values))) == len(values)
    else:
        good = (
            _is_number(defaults[key])
            and isinstance(values, tuple)
            and len(values) == len(KINDS[kind].split(","))
            and all(map(_is_number, values))
            and all(abs(value) < LARGEST for value in values)
            and values[0] < values[1]
            and all(step > 0 for step in values[2:])
            and (kind != "loguniform" or abs(values[0]) < LARGEST_LOGARITHM > abs(values[1]))
            and (isinstance(defaults[key], float) or all(step == int(step) for step in values[2:]))
        )
    if not good:
        logarithms = " (natural logarithms)" if kind == "loguniform" else ""
        raise UsageError(
            f"`{key} {kind}` takes {KINDS[kind]}{logarithms}, different values like its default {defaults[key]}, not `{text.strip()}`."
        )
    found = SearchRange(kind, tuple(values), isinstance(defaults[key], int), line)
    if kind != "choice" and found.bounds()[0] > found.bounds()[1]:
        raise UsageError(
            f"No {'whole number' if kind != 'quniform' else 'multiple of the step'} lies in `{text.strip()}`."
        )
    return found


def _replaces(default, value):
    """Whether ``value`` may stand where a default is a number, a whole number, or something else."""
    if not _is_number(default):
        return True
    return _is_number(value) and (isinstance(default, float) or isinstance(value, int))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
