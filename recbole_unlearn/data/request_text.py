"""Reads rows of what to forget from files of text: delimited cells, and JSON lines."""

import csv
import json
from collections.abc import Collection

import numpy as np
import pandas as pd
from recbole.utils import FeatureType

from recbole_unlearn.data.refusal import refuse
from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.errors import UsageError

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}
TYPES = {"", *(kind.value for kind in FeatureType)}  # of a column, after its name and a colon
UNIT = "\x1f"  # one character for a separator of several


def read_delimited(path: str, separator: str, columns: Collection[str], encoding: str) -> pd.DataFrame:
    """A file's cells as text, empty where there is none.

    Quotes mean what they mean to RecBole's parser. Unlike pandas, the csv module finds short rows.

    Args:
        path: of a file with a header.
        separator: between cells.
        columns: names that are expected, to recognise another separator by.
        encoding: of the file.

    Returns:
        A column for each of the header; the index is the line number.

    Raises:
        UsageError: the file cannot be read.
    """
    origin = RequestSource(path)
    lines, delimiter = lines_of(path, encoding, newline=""), separator
    if len(separator) > 1:
        lines, delimiter = [line.replace(separator, UNIT) for line in lines], UNIT
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        numbered = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UsageError(f"{origin} cannot be read: line {reader.line_num}: {error}.") from None
    if not header:
        raise UsageError(f"{origin} is empty, or its first line is.")
    names = list(map(_name, header))
    if not set(names) <= set(columns):
        _refuse_other_separator(origin, separator, header, columns)
    numbers = np.array([line for line, _ in numbered], dtype=int)
    several = np.diff(numbers, prepend=1) > 1
    sizes = pd.Series([len(row) for _, row in numbered], index=numbers, dtype=int)
    filled = (sizes > 0).to_numpy()  # a blank line has no cells
    refuse(origin, sizes, several, "go over several lines, as after a quote that is not closed")
    refuse(origin, sizes[filled], sizes[filled] != len(header), f"do not have the {len(header)} cells of the header")
    return pd.DataFrame([row for _, row in numbered if row], index=numbers[filled], columns=names, dtype=object)


def lines_of(path: str, encoding: str, newline: str | None = None) -> list[str]:
    """A file's lines.

    Raises:
        UsageError: the file cannot be read.
    """
    origin = RequestSource(path)
    try:
        with open(path, encoding=encoding, newline=newline) as file:
            return list(file)
    except FileNotFoundError:
        raise UsageError(f"{origin} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{origin} cannot be read: {error}.") from None


def _name(cell):
    """A column's name without its type; any other ending belongs to a header with another separator."""
    name, _, kind = cell.partition(":")
    return name if kind in TYPES else cell


def _refuse_other_separator(origin, separator, header, columns):
    for other, seen in SEPARATORS.items():
        for cell in header:
            names = set(map(_name, cell.split(other)))
            if len(names) > 1 and names & set(columns):
                expected = f"columns of its first line; expected are {SEPARATORS.get(separator, repr(separator))}"
                raise UsageError(f"{origin} has {seen} between the {expected}.")


def read_json_lines(path: str) -> pd.DataFrame:
    """A file of an object a line; a key that an object lacks is an empty cell.

    Raises:
        UsageError: the file cannot be read, or a line is no object of texts and numbers.
    """
    origin = RequestSource(path)
    rows, notes = {}, {}
    for number, line in enumerate(lines_of(path, "utf-8-sig"), 1):
        if not line.strip():
            continue
        try:
            rows[number] = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=_cells)
            notes[number] = "" if isinstance(rows[number], dict) else "no object"
        except (ValueError, RecursionError) as error:
            notes[number] = getattr(error, "msg", str(error))
    notes = pd.Series(notes, dtype=object)
    if notes.empty:
        raise UsageError(f"{origin} is empty.")
    refuse(origin, notes, notes != "", "are not JSON objects of texts and numbers")
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
