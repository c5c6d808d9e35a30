"""The tables of several seeds."""

from collections.abc import Mapping
from typing import Any

from recbole_unlearn.report.tables import COLUMNS, NAMES, heading_of, in_floors, text_table

PLUS_MINUS = "means, half of their 95 % intervals (+-), single seeds"
COST = ("offline_seconds", "online_seconds", "peak_memory_mb")
LISTS = ("jaccard", "rbo", "recall_of_list")


def summary_table(summary: Mapping[str, Any]) -> str:
    """The rows of several seeds as text: the mean with its interval and, of up to three seeds, a line for each seed.

    Args:
        summary: of :func:`~recbole_unlearn.evaluator.comparison.summarise`.
    """
    rows, seeds = summary["results"], summary["seeds"]
    numbers = [key for key, value in rows[0].items() if isinstance(value, dict) and not key.startswith("audit_")]
    gaps = [key for key in numbers if key in COLUMNS and key.endswith("_gap")]
    ratios = [key for key in numbers if key.endswith("_ratio")]
    compared = [row for row in rows if gaps and row["speed_up"]["mean"] is not None]
    first = [key for key in numbers if "@" in key and not key.endswith(("_ratio", "_low", "_high"))]
    first = [key for key in first if key.split("@")[0] not in LISTS]
    first += [key for key in ("MI-BF", "MI-NG", "AUC_FN", "AUC_FT") if key in numbers]
    parts = [("Rows", [*first, *(key for key in COST if key in numbers)], rows)]
    if compared:
        lists = [key for key in numbers if key.split("@")[0] in ("jaccard", "rbo") or key == "D"]
        cost = [key for key in ("speed_up", "break_even") if key in numbers]
        parts.append(("Forgetting against Retrain (in brackets: multiples of the floor)", gaps, compared))
        parts.append(("Ranking, lists and cost against Retrain", [*ratios, *lists, *cost], compared))
    audit = [key for key in rows[0] if key.startswith("audit_")]
    parts += [("Membership audit", audit, rows)] if audit else []
    title = (
        f"{summary['model']} on {summary['dataset']}, {summary['forget']} request, seeds {', '.join(map(str, seeds))}"
    )
    tables = [f"{name}:\n{_table(keys, of, seeds)}" for name, keys, of in parts]
    notes = [f"{row}: not unlearned: {weights}" for row, weights in summary.get("not unlearned", {}).items()]
    return "\n".join([f"{title}: {PLUS_MINUS}", *tables, *notes])


def _table(keys, rows, seeds):
    """Of each row a line with means, one with half of the intervals and, of a few seeds, a line each."""
    lines = []
    for row in rows:
        halves = {key: _half(row[key]) for key in keys}
        of_seeds = [row[key].get("values", ()) for key in keys]
        names = {name: row[name] for name in NAMES}
        lines.append(names | {"": "mean"} | {heading_of(key)[0]: _mean(row, key) for key in keys})
        unnamed = dict.fromkeys(NAMES, "")
        if any(half is not None for half in halves.values()):
            lines.append(
                unnamed | {"": "+-"} | {heading_of(key)[0]: _written(key, half) for key, half in halves.items()}
            )
        for seed, values in zip(seeds, zip(*of_seeds)) if len(seeds) > 1 else ():
            cells = {heading_of(key)[0]: _written(key, value) for key, value in zip(keys, values)}
            lines.append(unnamed | {"": f"seed {seed}"} | cells)
    return text_table(lines, lambda name: (name, "{}"))


def _mean(row, key):
    floors = row.get(f"{key}_floors", {}).get("mean")
    return _written(key, row[key]["mean"]) + in_floors(floors)


def _half(numbers):
    return None if numbers["high"] is None else numbers["high"] - numbers["mean"]


def _written(key, value):
    short = key.endswith("_ratio") or key.split("@")[0] in LISTS or key == "D"
    return "" if value is None else ("{:.3f}" if short else heading_of(key)[1]).format(value)
