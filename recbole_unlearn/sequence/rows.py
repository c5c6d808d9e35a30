"""The rows of a sequence, their distances from Retrain at the same point, and their table."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recbole_unlearn.evaluator.comparison import Comparison
from recbole_unlearn.report.tables import COLUMNS, NAMES, label, text_table

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]
SECONDS = ("seconds_p50", "seconds_p95", "seconds_max")
SAID = ("no result", "not unlearned")  # of a row, in words
COSTS = {*SECONDS, "timed", "seconds_between", "offline_seconds", "peak_memory_mb"}


def seconds_of(costs: Iterable[float]) -> dict[str, float]:
    """``seconds_p50``, ``seconds_p95`` and ``seconds_max`` of the requests so far, and ``timed``, their number."""
    seconds = np.fromiter(costs, dtype=float)
    values = (*np.quantile(seconds, [0.5, 0.95]), seconds.max())
    return {**dict(zip(SECONDS, map(float, values))), "timed": len(seconds)}


def key_of(row: Mapping[str, Any]) -> str:
    """The name of a row's arrays among those of the report."""
    return f"sequence {row['after']} {label(row)}"


def kept_arrays(arrays: Arrays) -> Arrays:
    """What a comparison needs of the evaluator's arrays: scores of the forgotten, lists, users' values."""
    return {name: values for name, values in arrays.items() if name in ("forget", "lists") or "@" in name}


def compared(rows: Sequence[Row], arrays: Mapping[str, Arrays], users: np.ndarray, seed: int) -> list[Row]:
    """The rows with their distances from the Retrain that trained on what remained at the same point.

    Args:
        rows: of all methods and points, with ``after``, the original's among them. Distances of an earlier comparison
            are computed again.
        arrays: by :func:`key_of`.
        users: ids of the users of lists and values, shape ``(U,)``.
        seed: of the resampling of users.

    Returns:
        The rows in their order; see :meth:`~recbole_unlearn.evaluator.comparison.Comparison.gaps`. Their ``speed_up``
        and ``break_even`` are those of the median request.
    """
    measured = COSTS.union(SAID, *(row for row in rows if row["method"] == "original"))
    rows = [{key: value for key, value in row.items() if key in measured} for row in rows]
    gaps: dict[tuple[Any, ...], Row] = {}
    for after in {row["after"] for row in rows}:
        there = [{**row, "online_seconds": row.get(SECONDS[0])} for row in rows if row["after"] == after]
        named = {(row["method"], row["stage"]): arrays[key_of(row)] for row in there if key_of(row) in arrays}
        found = Comparison(there, named, users, seed=seed).gaps()
        gaps |= {(gap["method"], gap["stage"], after): gap for gap in found}
    return [{**row, **gaps.get((row["method"], row["stage"], row["after"]), {})} for row in rows]


def sequence_table(rows: Sequence[Row]) -> str:
    """A line for each method and measured point: gaps with their multiples of the floor, ranking, lists, seconds."""
    lines = []
    for row in rows:
        if row["method"] == "original":
            continue
        line = {**{name: row[name] for name in NAMES}, "after": str(row["after"])}
        for key, (heading, form) in COLUMNS.items():
            if key.endswith("_gap") and key in row:
                floors = row.get(f"{key}_floors", math.nan)
                line[heading] = form.format(row[key]) + (f" ({floors:.1f}x)" if math.isfinite(floors) else "")
        for key in (key for key in row if key.endswith("_ratio")):
            line[key.replace("_ratio", " ratio")] = f"{row[key]:.3f}"
        for key in (key for key in row if key.split("@")[0] == "jaccard" or key == "D"):
            line[key] = f"{row[key]:.3f}" if math.isfinite(row[key]) else ""
        line |= {key.replace("seconds_", "s "): f"{row[key]:.3g}" for key in SECONDS if key in row}
        lines.append(line)
    notes = [f"{label(row)}: {row['no result']}" for row in rows if "no result" in row]
    notes += [f"{label(row)}: not unlearned: {row['not unlearned']}" for row in rows if "not unlearned" in row]
    return "\n".join([text_table(lines, lambda name: (name, "{}")), *dict.fromkeys(notes)])
