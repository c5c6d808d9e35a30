"""Rows as text."""

import math
from collections.abc import Mapping, Sequence
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
    "speed_up": ("speed-up", "{:.4g}"),
    "break_even": ("break-even", "{:.2g}"),
}


def read_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it was before JSON, which has no nan; a missing cost stays ``None``."""
    return {
        key: math.nan if value is None and key not in ("online_seconds", "peak_memory_mb") else value
        for key, value in row.items()
    }


def label(row: Mapping[str, Any]) -> str:
    """A row's name, e.g. ``UnlearnRec zero-shot``."""
    return f"{row['method']} {row['stage']}".strip()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text, one line each."""
    frame = pd.DataFrame([{key: value for key, value in row.items() if key != "details"} for row in rows])
    for column in frame.columns:
        heading, form = _column(column)
        if column not in ("method", "stage"):
            frame[column] = ["" if pd.isna(value) else form.format(value) for value in frame[column]]
        frame = frame.rename(columns={column: heading})
    return frame.to_string(index=False)


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
    cells = []
    for row in rows:
        line = {key: row[key] for key in ("method", "stage")}
        for key in keys:
            heading, form = _column(key)
            line[heading] = " +- ".join(
                form.format(row[key][part]) for part in ("mean", "sd") if row[key][part] is not None
            )
        cells.append(line)
    return pd.DataFrame(cells).to_string(index=False)


def _column(key):
    """Heading and number format."""
    return COLUMNS.get(key, (key.replace("_ratio", " ratio"), "{:.4f}"))
