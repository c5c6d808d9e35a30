"""Rows as text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

COLUMNS = {  # heading and number format of a column; others keep their key and have four decimals
    "offline_seconds": ("offline s", "{:.1f}"),
    "online_seconds": ("online s", "{:.3f}"),
    "peak_memory_mb": ("peak MB", "{:.0f}"),
    "MI-BF_gap": ("|ln MI-BF|", "{:.3f}"),
    "MI-NG_gap": ("|ln MI-NG|", "{:.3f}"),
    "AUC_FN_gap": ("|d AUC_FN|", "{:.3f}"),
    "AUC_FT_gap": ("|d AUC_FT|", "{:.3f}"),
    "under_forgotten": ("under", "{:.1%}"),
    "over_forgotten": ("over", "{:.1%}"),
    "speed_up": ("speed-up", "{:.4g}"),
    "break_even": ("break-even", "{:.2g}"),
}
NAMES = ("method", "stage")  # of a row


def read_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it was before JSON, which has no nan; a missing cost stays ``None``."""
    return {
        key: math.nan if value is None and key not in ("online_seconds", "peak_memory_mb") else value
        for key, value in row.items()
    }


def label(row: Mapping[str, Any]) -> str:
    """A row's name, e.g. ``UnlearnRec zero-shot``."""
    return f"{row['method']} {row['stage']}".strip()


def text_table(rows: pd.DataFrame | Sequence[Mapping[str, Any]], column: Callable[[str], tuple[str, str]]) -> str:
    """A table as text, one line each row.

    Args:
        rows: a cell that is missing, None or nan stays empty.
        column: a column's heading and its format, e.g. ``("peak MB", "{:.0f}")``, by its name.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    columns = [column(name) for name in frame]
    cells = [
        ["" if pd.isna(value) else form.format(value) for (_, form), value in zip(columns, row)]
        for row in frame.itertuples(index=False, name=None)
    ]
    return pd.DataFrame(cells, columns=[heading for heading, _ in columns]).to_string(index=False)


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown, from the texts of its cells."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, ["---"] * len(headings), *rows))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A report's rows as text, one line each; those of an audit have a table of their own."""
    shown = [
        {key: value for key, value in row.items() if key != "details" and not key.startswith("audit_")} for row in rows
    ]
    return text_table(shown, _column)


def audit_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """How well a membership attack recognises forgotten and retained units: AUC and TPR at 1 % false positives."""
    names = {
        f"audit_{name}_{key}": f"{name} {heading}"
        for name in ("forgotten", "retained")
        for key, heading in (("auc", "AUC"), ("tpr", "TPR@1%"))
    }
    lines = [{key: row[key] for key in (*NAMES, *names)} for row in rows if names.keys() <= row.keys()]
    return text_table(lines, lambda key: (names.get(key, key), "{:.3f}" if key in names else "{}"))


def gap_table(gaps: Sequence[Mapping[str, Any]]) -> str:
    """Distances from Retrain: gaps with their multiple of the floor, ratios with their interval over users."""
    lines = []
    for gap in gaps:
        line = {name: gap[name] for name in NAMES}
        for key, (heading, form) in COLUMNS.items():
            if key.endswith("_gap"):
                floors = gap.get(f"{key}_floors", math.nan)
                line[heading] = form.format(gap[key]) + (f" ({floors:.1f}x)" if math.isfinite(floors) else "")
        if any("over_forgotten" in each for each in gaps):
            for key in ("under_forgotten", "over_forgotten"):
                line[COLUMNS[key][0]] = f"{gap[key]:.1%}" if key in gap else ""
        for key in (key for key in gap if key.endswith("_ratio")):
            low, high = (gap.get(f"{key}_{end}", math.nan) for end in ("low", "high"))
            line[_column(key)[0]] = f"{gap[key]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else "")
        for key in ("speed_up", "break_even"):
            line[COLUMNS[key][0]] = "" if gap[key] is None else COLUMNS[key][1].format(gap[key])
        lines.append(line)
    return text_table(lines, lambda name: (name, "{}"))


def list_table(gaps: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]) -> str:
    """Agreement of lists with Retrain's, and the change of the last ranking metric in each group of users."""
    metric = groups[-1]["metric"]
    lines = []
    for gap in gaps:
        line = {name: gap[name] for name in NAMES}
        line |= {key: f"{gap[key]:.3f}" for key in gap if key.split("@")[0] in ("jaccard", "rbo") or key == "D"}
        for of_group in groups:
            if of_group["metric"] == metric and all(of_group[name] == gap[name] for name in NAMES):
                line[f"{metric} {of_group['group']}"] = f"{of_group['mean']:+.4f}" if of_group["n"] else ""
        lines.append(line)
    return text_table(lines, lambda name: (name, "{}"))


def summary_table(summary: Mapping[str, Any]) -> str:
    """The rows of several seeds as text, each cell ``mean +- sd``; gaps to Retrain in a second table."""
    numbers = [key for key, value in summary["results"][0].items() if isinstance(value, dict)]
    gaps = [key for key in numbers if key.endswith(("_gap", "_ratio")) or key in ("speed_up", "break_even")]
    text = _means([key for key in numbers if key not in gaps], summary["results"])
    if not gaps:
        return text
    compared = [row for row in summary["results"] if row["speed_up"]["mean"] is not None]
    return f"{text}\nAgainst Retrain:\n{_means(gaps, compared)}"


def _means(keys, rows):
    """One line per row, one column per key."""
    lines = [{key: row[key] for key in NAMES} | {key: _mean(row[key], _column(key)[1]) for key in keys} for row in rows]
    return text_table(lines, lambda key: (_column(key)[0], "{}"))


def _mean(measured, form):
    return " +- ".join(form.format(measured[part]) for part in ("mean", "sd") if measured[part] is not None)


def _column(key):
    """Heading and format."""
    return COLUMNS.get(key, (key.replace("_ratio", " ratio"), "{}" if key in NAMES else "{:.4f}"))
