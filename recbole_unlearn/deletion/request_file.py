"""Deletion requests: what one is, and the files that they come in.

Nothing is guessed: a file with one row that could be meant in two ways is refused as a whole. Messages name lines, not
users or items, because they end up in logs that outlive the deletion.
"""

import csv
import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_unlearn.data.request import EXAMPLES, digest
from recbole_unlearn.errors import UsageError

SCOPES = {(True, True): "interaction", (True, False): "user", (False, True): "item"}  # of (has a user, has an item)
OPTIONAL = ["request_id", "received_at", "scope"]
SEPARATORS = {".inter": "\t", ".csv": ","}
REQUEST_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:@-]{1,128}")  # it becomes a file name
TIMESTAMP = re.compile(r"\d{9,11}(\.\d+)?")  # seconds since 1970; eight digits could be a date instead


@dataclass(frozen=True)
class DeletionRequest:
    """What one request wants to be forgotten, in external tokens.

    Args:
        request_id (str): 1 to 128 letters, digits and ``._:@-``.
        rows (iterable of tuple): ``(scope, user, item)``; the scope is ``"interaction"``, ``"user"`` (then the item is
            None) or ``"item"`` (then the user is None). Kept as a tuple, sorted and distinct.
        received_at (str, optional): ISO 8601.

    Raises:
        UsageError: another request id, no rows, or a row whose scope contradicts its ids.
    """

    request_id: str
    rows: tuple
    received_at: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "rows", _distinct(self.rows))
        if not REQUEST_ID.fullmatch(self.request_id):
            name = _short(self.request_id)
            raise UsageError(f"Request id {name} is not 1 to 128 letters, digits and '._:@-', or it is '.' or '..'.")
        if not self.rows:
            raise UsageError(f"Request '{self.request_id}' names nothing to forget.")
        for scope, user, item in self.rows:
            if scope != SCOPES.get((user is not None, item is not None)):
                raise UsageError(f"Request '{self.request_id}' has a row whose scope {_short(scope)} its ids contradict.")


def read_requests(path, user_field, item_field):
    """Read the requests of a file, in the order in which they first appear.

    Columns are ``user_field`` (a row asks to forget a user), ``item_field`` (an item) or both (an interaction), and
    optionally ``request_id`` (rows with the same one are one request), ``received_at`` (ISO 8601, taken as UTC where it
    does not say, or seconds since 1970; the earliest of a request counts) and ``scope`` (a check: it must fit the ids).
    Without ``request_id`` the file is one request, named after its content: the same file twice is the same request.

    Args:
        path (str): an atomic file (``.inter``, tabs), a ``.csv``, or a ``.jsonl`` with an object a line.
        user_field, item_field (str): names of the id columns.

    Returns:
        list of DeletionRequest: with ``received_at`` in UTC.

    Raises:
        UsageError: the file cannot be read, or anything in it is malformed or ambiguous.
    """
    table = _read(path)
    ids, columns = {user_field, item_field}, list(table.columns)
    if len(set(columns)) < len(columns) or set(columns) - ids - set(OPTIONAL) or not ids & set(columns):
        strange = len(columns) - len(set(columns) & {*ids, *OPTIONAL})  # not named: without a header, they are somebody's
        raise UsageError(
            f"Request file '{path}' has {strange} of {len(columns)} columns that are unknown or repeated, or no ids; its first "
            f"line should name {user_field} or {item_field} or both, and optionally {', '.join(OPTIONAL)}, each once."
        )
    if table.empty:
        raise UsageError(f"Request file '{path}' has no rows.")
    table = table.reindex(columns=[user_field, item_field, *OPTIONAL], fill_value="")
    users, items = ([token or None for token in table[field]] for field in (user_field, item_field))
    rows = list(zip(_scopes(path, table["scope"], users, items), users, items))
    times = _times(path, table["received_at"])
    if "request_id" in columns:
        names = table["request_id"]
        allowed = {name for name in names.unique() if REQUEST_ID.fullmatch(name)}
        problem = "have a request_id that is not 1 to 128 letters, digits and '._:@-', or is '.' or '..'"
        _refuse(path, _lines(names), ~names.isin(allowed), problem)
    else:
        names = [f"file-{digest(json.dumps(_distinct(rows)))}"] * len(rows)

    requests = {}
    for name, row, time in zip(names, rows, times):
        of_request, received = requests.setdefault(name, ([], set()))
        of_request.append(row)
        received.add(time)
    return [
        DeletionRequest(name, of_request, min(received - {None}, default=None))
        for name, (of_request, received) in requests.items()
    ]


def _scopes(path, given, users, items):
    """Each row's scope, which its ids say; a given one may only confirm it."""
    scopes = [SCOPES.get((user is not None, item is not None)) for user, item in zip(users, items)]
    scopes = pd.Series(scopes, index=given.index, dtype=object)
    _refuse(path, _lines(given), scopes.isna(), "have neither a user nor an item")
    _refuse(path, _lines(given), ~given.isin(["", *SCOPES.values()]), f"have a scope that is none of {', '.join(SCOPES.values())}")
    _refuse(path, _lines(given), (given != "") & (given != scopes), "have a scope that their ids contradict")
    return scopes


def _times(path, texts):
    """Each row's time as ISO 8601 in UTC, which sorts as the times do; None where there is none."""
    times = {text: _utc(text) for text in texts.unique() if text}
    wrong = [text for text, time in times.items() if time is None]
    _refuse(path, _lines(texts), texts.isin(wrong), "have a received_at that is neither ISO 8601 nor seconds since 1970")
    return [times.get(text) for text in texts]


def _utc(text):
    """A time in UTC, or None if the text is none."""
    try:
        if TIMESTAMP.fullmatch(text):
            time = datetime.fromtimestamp(float(text), timezone.utc)
        else:
            time = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))  # Python 3.10 does not know Z
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc).isoformat()
    except (ValueError, OverflowError):
        return None


def _read(path):
    """The file's cells as text, empty where there is nothing; the index is the line number."""
    ending = Path(path).suffix.lower()
    try:
        if ending in SEPARATORS:
            return _read_delimited(path, SEPARATORS[ending])
        if ending == ".jsonl":
            return _read_json_lines(path)
    except FileNotFoundError:
        raise UsageError(f"Request file '{path}' does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Request file '{path}' cannot be read: {error}.") from None
    raise UsageError(f"Request file '{path}' should end in {', '.join(SEPARATORS)} or .jsonl, which says its format.")


def _read_delimited(path, separator):
    """Read with the parser that RecBole uses, so that quotes mean the same in both; unlike pandas' it tells short rows."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        try:
            header = next(reader, None)
            numbered = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise UsageError(f"Request file '{path}' cannot be read: line {reader.line_num}: {error}.") from None
    if not header:
        raise UsageError(f"Request file '{path}' is empty, or its first line is.")
    lines = np.array([line for line, _ in numbered], dtype=int)
    several = np.diff(lines, prepend=1) > 1
    sizes = pd.Series([len(row) for _, row in numbered], index=lines, dtype=int)
    filled = (sizes > 0).to_numpy()  # a blank line has no cells
    _refuse(path, sizes, several, "go over several lines, as after a quote that is not closed")
    _refuse(path, sizes[filled], sizes[filled] != len(header), f"do not have the {len(header)} cells of the header")
    rows = [row for _, row in numbered if row]
    return pd.DataFrame(rows, index=lines[filled], columns=[name.split(":")[0] for name in header], dtype=object)


def _read_json_lines(path):
    """A row a line; a key that an object does not have is an empty cell."""
    rows, notes = {}, {}
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
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
    _refuse(path, notes, notes != "", "are no JSON objects of texts and numbers")
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    return pd.DataFrame(cells, index=list(rows), columns=columns, dtype=object)


def _cells(pairs):
    """A JSON object, its numbers already text; what cannot be a row's cells is refused."""
    cells = {key: "" if value is None else value for key, value in pairs}
    if len(cells) < len(pairs):
        raise ValueError("a key twice")
    if not all(isinstance(value, str) for value in cells.values()):
        raise ValueError("a value that is neither text nor a number")
    "".join([*cells, *cells.values()]).encode()  # half a surrogate pair is no text
    return cells


def _lines(cells):
    """Notes that say nothing but the line: a cell may be somebody's name in the wrong column."""
    return pd.Series("", index=cells.index, dtype=object)


def _refuse(path, notes, bad, problem):
    """Raise if any row is ``bad``, with their number, the first lines and what ``notes`` say of them."""
    bad = np.asarray(bad, dtype=bool)
    if bad.any():
        first = notes[bad][:EXAMPLES].items()
        examples = "; ".join(f"line {line} ({_short(note)})" if note != "" else f"line {line}" for line, note in first)
        raise UsageError(f"Request file '{path}': {bad.sum()} of {len(bad)} rows {problem}, e.g. {examples}.")


def _distinct(rows):
    """Rows as a tuple, sorted and without repetitions."""
    return tuple(sorted(set(rows), key=lambda row: (row[0], row[1] or "", row[2] or "")))


def _short(value):
    """A value of unknown length and content, as a piece of one line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
