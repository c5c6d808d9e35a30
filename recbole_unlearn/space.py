"""A search space in RecBole's format, and the points of it that a sweep tries."""

import ast
import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import yaml

from recbole_unlearn.config import properties_folder
from recbole_unlearn.errors import UsageError, unknown

KINDS = {"choice": "[A,B,...]", "uniform": "LOW,HIGH", "loguniform": "LOW,HIGH", "quniform": "LOW,HIGH,STEP"}


@dataclass(frozen=True)
class Values:
    """What a setting may be.

    Args:
        kind (str): one of ``KINDS``.
        values (tuple): the choices, or the bounds (and the step).
        whole (bool): whether a number of a range is rounded.
    """

    kind: str
    values: tuple
    whole: bool = False

    def draw(self, rng):
        """One of them, by a numpy generator; numbers have six digits, so that they can be typed again."""
        if self.kind == "choice":
            return self.values[rng.integers(len(self.values))]
        number = rng.uniform(*self.values[:2])
        if self.kind == "loguniform":
            number = math.exp(number)
        if self.kind == "quniform":
            number = round(number / self.values[2]) * self.values[2]
        return round(number) if self.whole else float(f"{number:.6g}")


def points_of(space, n_trials, seed):
    """The points to try, a dict each: every combination if all are choices, else ``n_trials`` draws.

    Raises:
        UsageError: no draws are wanted where some are needed.
    """
    if all(values.kind == "choice" for values in space.values()):
        return [dict(zip(space, point)) for point in product(*(values.values for values in space.values()))]
    if n_trials < 1:
        raise UsageError(f"A space with a range needs at least 1 trial, not {n_trials}.")
    rng = np.random.default_rng(seed)
    return [{key: values.draw(rng) for key, values in space.items()} for _ in range(n_trials)]


def read_space(path, method):
    """Read a space: ``SETTING KIND VALUES`` a line; ``#`` begins a comment.

    ``choice [1,0.5]`` is one of a list, ``uniform LOW,HIGH`` a number between, ``quniform LOW,HIGH,STEP`` a multiple of
    the step, ``loguniform LOW,HIGH`` e to the power of a number between (``-8,0`` is 0.0003 to 1).

    Args:
        path (str): the file.
        method (str): the unlearning method whose settings may be there; others would change the original model.

    Returns:
        dict: setting to :class:`Values`.

    Raises:
        UsageError: no such file, nothing in it, or a bad line, with its number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Sweep file '{path}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    defaults = yaml.safe_load((properties_folder() / "method" / f"{method}.yaml").read_text(encoding="utf-8"))
    space = {}
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split(maxsplit=2)
        if not words:
            continue
        try:
            if words[0] in space:
                raise UsageError(f"'{words[0]}' is there twice.")
            space[words[0]] = _values(words, defaults)
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
    if not space:
        raise UsageError(f"Sweep file '{path}' has no line `SETTING KIND VALUES`.")
    return space


def _values(words, defaults):
    if len(words) < 3:
        raise UsageError("Expected `SETTING KIND VALUES`, e.g. `ie_rho choice [0.1,0.2]`.")
    key, kind, text = words
    if key not in defaults:
        raise unknown("setting to sweep", key, defaults)
    if kind not in KINDS:
        raise unknown("kind of values", kind, KINDS)
    try:
        values = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        values = None
    if kind == "choice":
        good = isinstance(values, list) and values and all(_replaces(defaults[key], value) for value in values)
    else:
        good = (
            _is_number(defaults[key])
            and isinstance(values, tuple)
            and len(values) == len(KINDS[kind].split(","))
            and all(map(_is_number, values))
            and values[0] < values[1]
            and all(step > 0 for step in values[2:])
        )
    if not good:
        raise UsageError(f"`{key} {kind}` takes {KINDS[kind]} like its default {defaults[key]}, not `{text.strip()}`.")
    return Values(kind, tuple(values), whole=isinstance(defaults[key], int))


def _replaces(default, value):
    """Whether ``value`` may stand where a default is a number, a whole number, or something else."""
    if not _is_number(default):
        return True
    return _is_number(value) and (isinstance(default, float) or isinstance(value, int))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
