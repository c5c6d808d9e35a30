"""Refuses rows of what to forget. Messages name lines, not users or items, because logs outlive a deletion."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recbole_unlearn.errors import UsageError

EXAMPLES = 3  # offending rows shown in a message


def refuse(origin: object, notes: pd.Series, bad: Sequence[bool] | np.ndarray | pd.Series, problem: str) -> None:
    """Raise if any row is ``bad``, with the number of such rows, the first places and their ``notes``.

    Args:
        origin: what the rows are of, as text.
        notes: something short about each row, or empty; the index is the row's number, and its name what is numbered
            (default ``line``).
        bad: one entry per row.
        problem: what bad rows do or have.

    Raises:
        UsageError: at least one row is bad.
    """
    bad = np.asarray(bad, dtype=bool)
    if bad.any():
        first, place = notes[bad][:EXAMPLES].items(), notes.index.name or "line"
        examples = "; ".join(
            f"{place} {row} ({short(note)})" if note != "" else f"{place} {row}" for row, note in first
        )
        raise UsageError(f"{origin}: {bad.sum()} of {len(bad)} rows {problem}, e.g. {examples}.")


def unnamed(rows: pd.DataFrame) -> pd.Series:
    """Empty notes, so that messages name only lines: a cell may be somebody's name in the wrong column."""
    return pd.Series("", index=rows.index, dtype=object)


def short(value: Any) -> str:
    """A value as a short piece of one line, whatever its length and content."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
