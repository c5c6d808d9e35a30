"""Reads tables of what to forget from files with a header and a separator, and guesses nothing.

Messages name lines, not users or items, because logs outlive a deletion.
"""

import csv
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from recbole.utils import FeatureType

from recbole_unlearn.errors import UsageError

EXAMPLES = 3  # offending rows shown in a message
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}
TYPES = {"", *(kind.value for kind in FeatureType)}  # of a column, after its name and a colon
UNIT = "\x1f"  # one character for a separator of several


def read_delimited(path: str, separator: str, columns: Iterable[str], encoding: str = "utf-8-sig") -> pd.DataFrame:
    """Read a file's cells as text, empty where there is none.

    Quotes mean what they mean to RecBole's parser. Unlike pandas, the csv module finds short rows.

    Args:
        path: the file.
        separator: between cells.
        columns: the names that the header may have, without their types.
        encoding: of the file.

    Returns:
        A table of str with the header's names without their types; the index is the line number.

    Raises:
        UsageError: there is no such file or header, the separator is another one, or a row has another length or goes
            over several lines.
    """
    try:
        with open(path, newline="", encoding=encoding) as file:
            lines = file if len(separator) == 1 else (line.replace(separator, UNIT) for line in file)
            header, numbered = _parsed(path, lines, separator if len(separator) == 1 else UNIT)
    except FileNotFoundError:
        raise UsageError(f"Request file '{path}' does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Request file '{path}' cannot be read: {error}.") from None
    names = list(map(_name, header))
    if not set(names) <= set(columns):
        _refuse_other_separator(path, separator, header, columns)
    lines = np.array([line for line, _ in numbered], dtype=int)
    several = np.diff(lines, prepend=1) > 1
    sizes = pd.Series([len(row) for _, row in numbered], index=lines, dtype=int)
    filled = (sizes > 0).to_numpy()  # a blank line has no cells
    refuse(path, sizes, several, "go over several lines, as after a quote that is not closed")
    refuse(path, sizes[filled], sizes[filled] != len(header), f"do not have the {len(header)} cells of the header")
    return pd.DataFrame([row for _, row in numbered if row], index=lines[filled], columns=names, dtype=object)


def refuse(path: str, notes: pd.Series, bad: Sequence[bool] | np.ndarray | pd.Series, problem: str) -> None:
    """Raise if any row is ``bad``, with the number of such rows, the first lines and their ``notes``.

    Args:
        path: the file.
        notes: something short about each row, or empty; the index is the line number.
        bad: one entry per row.
        problem: what bad rows do or have.

    Raises:
        UsageError: at least one row is bad.
    """
    bad = np.asarray(bad, dtype=bool)
    if bad.any():
        first = notes[bad][:EXAMPLES].items()
        examples = "; ".join(f"line {line} ({short(note)})" if note != "" else f"line {line}" for line, note in first)
        raise UsageError(f"Request file '{path}': {bad.sum()} of {len(bad)} rows {problem}, e.g. {examples}.")


def short(value: Any) -> str:
    """A value as a short piece of one line, whatever its length and content."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _parsed(path, lines, separator):
    """The header (a list) and the rows with their line numbers."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        header = next(reader, None)
        numbered = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UsageError(f"Request file '{path}' cannot be read: line {reader.line_num}: {error}.") from None
    if not header:
        raise UsageError(f"Request file '{path}' is empty, or its first line is.")
    return header, numbered


def _name(cell):
    """A column's name without its type; any other ending belongs to a header with another separator."""
    name, _, kind = cell.partition(":")
    return name if kind in TYPES else cell


def _refuse_other_separator(path, separator, header, columns):
    for other, seen in SEPARATORS.items():
        for cell in header:
            names = set(map(_name, cell.split(other)))
            if len(names) > 1 and names & set(columns):
                expected = f"columns of its first line; expected are {SEPARATORS.get(separator, repr(separator))}"
                raise UsageError(f"Request file '{path}' has {seen} between the {expected}.")
