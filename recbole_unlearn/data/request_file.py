"""Reads files of what to forget, and guesses nothing.

A row names a user, an item, or both. Messages name lines, not users or items, because logs outlive a deletion.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.utils import FeatureType

from recbole_unlearn.errors import UsageError

EXAMPLES = 3  # offending rows shown in a message
SEPARATOR_OF = {".inter": "\t", ".csv": ","}  # ending of a file to its separator; .jsonl has none
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}
TYPES = {"", *(kind.value for kind in FeatureType)}  # of a column, after its name and a colon
UNIT = "\x1f"  # one character for a separator of several


def read_rows(
    path: str,
    user_field: str,
    item_field: str,
    optional: Iterable[str] = (),
    separator: str | None = None,
    encoding: str = "utf-8-sig",
) -> pd.DataFrame:
    """Read rows that name a user (its item is None), an item (its user is None) or an interaction.

    Args:
        path: of a file with a header and a separator, or with a JSON object a line (``.jsonl``).
        user_field, item_field: names of the id columns; the file may lack one of them.
        optional: names of other columns that the file may have.
        separator: between cells; by default, what the file's ending says.
        encoding: of a file with a separator.

    Returns:
        A table of ``user``, ``item`` and the optional columns that the file has, as text; the index is the line number.

    Raises:
        UsageError: the file cannot be read, has no rows, or anything in it is malformed or ambiguous.
    """
    ids, optional = {user_field: "user", item_field: "item"}, [name for name in optional if name]
    allowed, ending = {*ids, *optional}, Path(path).suffix.lower()
    if separator is None and ending not in (*SEPARATOR_OF, ".jsonl"):
        endings = ", ".join(SEPARATOR_OF)
        raise UsageError(f"Request file '{path}' should end in {endings} or .jsonl, which says its format.")
    if separator is None and ending == ".jsonl":
        table = _read_json_lines(path)
    else:
        table = _read_delimited(path, separator or SEPARATOR_OF[ending], allowed, encoding)
    columns = list(table.columns)
    if len(set(columns)) < len(columns) or set(columns) - allowed or not {*ids} & {*columns}:
        # The message does not name them: without a header, they are somebody's tokens.
        strange = len(columns) - len({*columns} & allowed)
        others = f", and optionally {', '.join(name for name in optional if name not in ids)}" if optional else ""
        raise UsageError(
            f"Request file '{path}' has {strange} of {len(columns)} columns that are unknown or repeated, or no ids; "
            f"its first line should name {user_field} or {item_field} or both{others}, each once."
        )
    if table.empty:
        raise UsageError(f"Request file '{path}' has no rows.")
    table = table.reindex(columns=[*ids, *(name for name in columns if name not in ids)], fill_value="")
    table = table.rename(columns=ids)
    for side in ids.values():
        table[side] = pd.Series([token or None for token in table[side]], index=table.index, dtype=object)
    refuse(path, unnamed(table), table["user"].isna() & table["item"].isna(), "have neither a user nor an item")
    return table


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


def unnamed(rows: pd.DataFrame) -> pd.Series:
    """Empty notes, so that messages name only lines: a cell may be somebody's name in the wrong column."""
    return pd.Series("", index=rows.index, dtype=object)


def short(value: Any) -> str:
    """A value as a short piece of one line, whatever its length and content."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _read_delimited(path, separator, columns, encoding):
    """A file's cells as text, empty where there is none.

    Quotes mean what they mean to RecBole's parser. Unlike pandas, the csv module finds short rows.
    """
    lines, delimiter = _lines_of(path, encoding, newline=""), separator
    if len(separator) > 1:
        lines, delimiter = [line.replace(separator, UNIT) for line in lines], UNIT
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        numbered = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UsageError(f"Request file '{path}' cannot be read: line {reader.line_num}: {error}.") from None
    if not header:
        raise UsageError(f"Request file '{path}' is empty, or its first line is.")
    names = list(map(_name, header))
    if not set(names) <= set(columns):
        _refuse_other_separator(path, separator, header, columns)
    numbers = np.array([line for line, _ in numbered], dtype=int)
    several = np.diff(numbers, prepend=1) > 1
    sizes = pd.Series([len(row) for _, row in numbered], index=numbers, dtype=int)
    filled = (sizes > 0).to_numpy()  # a blank line has no cells
    refuse(path, sizes, several, "go over several lines, as after a quote that is not closed")
    refuse(path, sizes[filled], sizes[filled] != len(header), f"do not have the {len(header)} cells of the header")
    return pd.DataFrame([row for _, row in numbered if row], index=numbers[filled], columns=names, dtype=object)


def _lines_of(path, encoding, newline=None):
    try:
        with open(path, encoding=encoding, newline=newline) as file:
            return list(file)
    except FileNotFoundError:
        raise UsageError(f"Request file '{path}' does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Request file '{path}' cannot be read: {error}.") from None


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


def _read_json_lines(path):
    """A row a line; a key that an object lacks is an empty cell."""
    rows, notes = {}, {}
    for number, line in enumerate(_lines_of(path, "utf-8-sig"), 1):
        if not line.strip():
            continue
        try:
            rows[number] = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=_cells)
            notes[number] = "" if isinstance(rows[number], dict) else "no object"
        except (ValueError, RecursionError) as error:
            notes[number] = getattr(error, "msg", str(error))
    notes = pd.Series(notes, dtype=object)
    if notes.empty:
        raise UsageError(f"Request file '{path}' is empty.")
    refuse(path, notes, notes != "", "are not JSON objects of texts and numbers")
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    return pd.DataFrame(cells, index=list(rows), columns=columns, dtype=object)


def _cells(pairs):
    """A JSON object as a row's cells; its numbers are text already.

    Raises:
        ValueError: the object cannot be a row.
    """
    cells = {key: "" if value is None else value for key, value in pairs}
    if len(cells) < len(pairs):
        raise ValueError("a key twice")
    if not all(isinstance(value, str) for value in cells.values()):
        raise ValueError("a value that is neither text nor a number")
    "".join([*cells, *cells.values()]).encode()  # half a surrogate pair is no text
    return cells
