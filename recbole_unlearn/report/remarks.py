"""What a reader must know of a row before believing it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recbole_unlearn.evaluator.comparison import ROUNDING

FLAT = 0.1  # mean magnitude of scores below which every probability is about one half
UNSOLVED = 0.5  # residual, as a share of the right-hand side


def remarked(
    rows: Sequence[Mapping[str, Any]],
    gaps: Sequence[Mapping[str, Any]],
    arrays: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
) -> list[dict[str, Any]]:
    """The rows, those that need it with ``remarks``, a list of texts.

    A remark says that weights of the model are not unlearned, that the scores of a row's forgotten pairs are flat, that
    its equations are not solved, that it ends farther from Retrain than doing nothing, that a ratio has no interval, or
    that another Retrain is the same model.

    Args:
        rows, gaps: of a report.
        arrays: of each row, by its method and stage.
    """
    by_name = {(gap["method"], gap["stage"]): gap for gap in gaps}
    nothing = by_name.get(("DropEdges", ""))
    result = []
    for row in rows:
        name = (row["method"], row["stage"])
        details = row.get("details", {})
        remarks = [*_not_unlearned(details), *_flat(arrays.get(name, {}).get("forget")), *_unsolved(details)]
        if nothing and name in by_name and row["method"] != "Retrain" and farther(by_name[name], nothing, gaps):
            remarks.append("ends farther from Retrain than doing nothing (DropEdges)")
        remarks += _without_interval(by_name.get(name, {}))
        if row["method"] == "Retrain" and name in by_name and _is_none(by_name[name]):
            remarks.append("equals Retrain, so that there is no floor: any gap of another row is a difference")
        result.append({**row, "remarks": remarks} if remarks else dict(row))
    return result


def without_remarks(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stored row as it was before :func:`remarked`."""
    return {key: value for key, value in row.items() if key != "remarks"}


def farther(gap: Mapping[str, float], nothing: Mapping[str, float], gaps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether more than half of the known gaps exceed both DropEdges's and the floor.

    Args:
        gap: of a row.
        nothing: of DropEdges.
        gaps: of all rows; those of further Retrains give the floor.
    """
    known = [key for key in gap if key.endswith("_gap") and not math.isnan(gap[key] + nothing[key])]
    again = [other for other in gaps if other["method"] == "Retrain"]
    floors = {key: float(np.mean([other[key] for other in again])) if again else 0.0 for key in known}
    return sum(gap[key] > max(nothing[key], floors[key]) for key in known) > len(known) / 2


def _not_unlearned(details):
    weights = details.get("not unlearned")
    return [f"not unlearned: {weights} (trained on the forgotten, and unchanged)"] if weights else []


def _without_interval(gap):
    ratios = [key for key in gap if f"{key}_low" in gap and not math.isnan(gap[key]) and math.isnan(gap[f"{key}_low"])]
    names = ", ".join(key.removesuffix("_ratio") for key in ratios)
    return [f"no interval of the ratio of {names}: too few users have hits"] if ratios else []


def _is_none(gap):
    gaps = [gap[key] for key in gap if key.endswith("_gap")]
    return bool(gaps) and max(gaps) <= ROUNDING


def _flat(forgotten):
    if forgotten is None or not len(forgotten):
        return []
    size = float(np.abs(forgotten).mean())
    return [f"MI-BF and MI-NG say nothing: flat scores (mean |score| {size:.2g})"] if size < FLAT else []


def _unsolved(details):
    try:
        residual = float(details.get("residual", 0))
    except ValueError:  # another method's own words
        return []
    return (
        [f"its equations are not solved (residual {residual:.2f}, 1 is no step at all)"] if residual >= UNSOLVED else []
    )
