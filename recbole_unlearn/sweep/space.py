"""A search space in RecBole's format, and the points that a sweep tries."""

import ast
import importlib.util
import math
from collections.abc import Collection, Mapping
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

from recbole_unlearn.config import Config, method_defaults
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.settings import kinds, type_names
from recbole_unlearn.streams import numpy_stream
from recbole_unlearn.validation import check_value

DRAWS_PER_SAMPLE = 10
LARGEST, LARGEST_LOGARITHM = 1e15, 34  # of a number in the file
SEARCHES, SCHEDULERS = ("random", "grid", "optuna"), ("asha", "none")
Space = dict[str, Any]  # setting to Ray Tune's search space
KINDS = {"choice": "[A,B,...]", "uniform": "LOW,HIGH", "loguniform": "LOW,HIGH", "quniform": "LOW,HIGH,STEP"}


def points_of(space: Space, search: str, num_samples: int, seed: int) -> list[dict[str, Any]]:
    """The points that a ``grid`` or a ``random`` search tries.

    Random points differ from each other; with one seed, a larger sample begins with the points of a smaller one.
    """
    rng = numpy_stream(seed, "points of a sweep")
    ranges = _ranges(space)
    if not ranges:
        points = [dict(zip(space, point)) for point in product(*(domain.categories for domain in space.values()))]
        return points if search == "grid" else [points[place] for place in rng.permutation(len(points))[:num_samples]]
    points = []
    for _ in range(DRAWS_PER_SAMPLE * num_samples):  # a space of few points may not have as many
        point = {key: domain.sample(random_state=rng) for key, domain in space.items()}
        point |= {key: _six_digits(point[key]) for key in ranges if isinstance(point[key], float)}
        if point not in points:
            points.append(point)
    return points[:num_samples]


def read_space(path: str | PathLike, method: str, fixed: Collection[str] = ()) -> Space:
    """Read a space: one ``SETTING KIND VALUES`` per line; ``#`` begins a comment. Nothing in the file is executed.

    ``choice [1,0.5]`` is one of a list, ``uniform LOW,HIGH`` a number between, ``quniform LOW,HIGH,STEP`` a multiple of
    the step, ``loguniform LOW,HIGH`` e to the power of a number between (``-8,0`` is 0.0003 to 1).

    Args:
        path: the file.
        method: the unlearning method whose settings the space may have; others would change the original model.
        fixed: settings whose lines do not count.

    Raises:
        UsageError: the file is missing or empty, or has a bad line, with its number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Sweep file '{path}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    defaults = method_defaults(method)
    space: Space = {}
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split(maxsplit=2)
        try:
            if words and words[0] in space:
                raise UsageError(f"'{words[0]}' is there twice.")
            if words:
                space[words[0]] = _domain(words, defaults, _whole_numbers(method))
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
    if not space:
        raise UsageError(f"Sweep file '{path}' has no line `SETTING KIND VALUES`.")
    if not space.keys() - set(fixed):
        raise UsageError(f"All settings of {path} are given on the command line: nothing left to search.")
    return {key: domain for key, domain in space.items() if key not in fixed}


def check_search(search: str, scheduler: str, space: Space) -> None:
    """Refuse unknown searches and schedulers, Optuna if it is not installed, and a grid of ranges."""
    for kind, name, choices in (("search", search, SEARCHES), ("scheduler", scheduler, SCHEDULERS)):
        if name not in choices:
            raise unknown(kind, name, choices)
    if search == "optuna" and importlib.util.find_spec("optuna") is None:
        raise UsageError("--search=optuna needs Optuna: pip install optuna.")
    if search == "grid" and _ranges(space):
        ranges = ", ".join(_ranges(space))
        raise UsageError(f"--search=grid needs choices, but {ranges} has a range; use --search=random.")


def swept_method(config: Config) -> str:
    """The method whose settings a sweep tries: the one of ``unlearn_methods``, or UnlearnRec if it is among several.

    Raises:
        UsageError: there are several methods without UnlearnRec, the method does not serve the model, or less of
            ``valid_metric`` is better.
    """
    chosen, metric = config["unlearn_methods"], config["valid_metric"]
    if not config["valid_metric_bigger"]:
        raise UsageError(f"A sweep keeps `valid_metric` high, and less of {metric} is better: take another.")
    if len(chosen) == 1 or "UnlearnRec" in chosen:
        method = chosen[0] if len(chosen) == 1 else "UnlearnRec"
        METHODS[method].check_serves(MODELS[config["model"]])
        return method
    raise UsageError(f"A sweep tries the settings of one method, not of {', '.join(chosen)}: --unlearn_methods=NAME.")


def with_whole_numbers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with 4.0 as 4 if a method takes a whole number; other tools' searches draw floats."""
    whole = {key for name in METHODS for key in _whole_numbers(name)}
    return {key: int(value) if key in whole and value == int(value) else value for key, value in settings.items()}


def _whole_numbers(method):
    """The settings of a method that are whole numbers, as it declares them or by the value in its yaml."""
    declared = {key: type_names(kind) == ["int"] for key, kind in kinds(METHODS[method].settings).items()}
    defaults = method_defaults(method)
    return {key for key, value in defaults.items() if declared.get(key, type(value) is int)}


def _domain(words, defaults, whole_numbers):
    """A line as Ray Tune's search space."""
    from ray import tune  # takes seconds

    if len(words) < 3:
        raise UsageError("Expected `SETTING KIND VALUES`, e.g. `ie_rho choice [0.1,0.2]`.")
    key, kind, text = words[0], words[1], words[2].strip()
    if key not in defaults:
        raise unknown("setting to sweep", key, defaults)
    if kind not in KINDS:
        raise unknown("kind of values", kind, KINDS)
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        values = None
    whole = key in whole_numbers
    if not (_are_choices(values) if kind == "choice" else _are_bounds(values, kind, whole)):
        logarithms = " (natural logarithms)" if kind == "loguniform" else ""
        raise UsageError(f"`{key} {kind}` takes {KINDS[kind]}{logarithms}, different values, not `{text}`.")
    if kind == "choice":
        for value in values:
            check_value(key, value)
        return tune.choice(values)
    low, high, *step = values
    if kind == "loguniform":
        low, high = math.exp(low), math.exp(high)
    quantum = step[0] if step else 1
    if step or whole:
        low, high = math.ceil(low / quantum - 1e-9) * quantum, math.floor(high / quantum + 1e-9) * quantum
        if low > high:
            raise UsageError(f"No {'multiple of the step' if step else 'whole number'} lies in `{text}`.")
    low, high = (int(low), int(high)) if whole else (low, high) if step else (_six_digits(low), _six_digits(high))
    for value in (low, high):  # a setting that takes both takes all between
        check_value(key, value)
    if not whole:
        return getattr(tune, kind)(low, high, *step)
    if quantum != 1:  # with a step of 1, Ray Tune never draws the largest
        return tune.qrandint(low, high, int(quantum))
    return (tune.lograndint if kind == "loguniform" else tune.randint)(low, high + 1)


def _ranges(space):
    return [key for key, domain in space.items() if not hasattr(domain, "categories")]


def _six_digits(number):
    """A number that people can type again."""
    return float(f"{number:.6g}")


def _are_choices(values):
    return isinstance(values, list) and len(values) == len(set(map(repr, values))) > 0


def _are_bounds(values, kind, whole):
    """Whether values are as many numbers as the kind takes, ascending, with a step that suits the setting."""
    if not isinstance(values, tuple) or len(values) != len(KINDS[kind].split(",")):
        return False
    if not all(_is_number(value) and abs(value) < LARGEST for value in values) or values[0] >= values[1]:
        return False
    if kind == "loguniform" and max(map(abs, values)) >= LARGEST_LOGARITHM:
        return False
    return all(step > 0 and (not whole or step == int(step)) for step in values[2:])


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
