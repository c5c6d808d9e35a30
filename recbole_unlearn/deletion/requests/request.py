"""Deletion requests, and the files that they come in.

Nothing is guessed: one ambiguous row makes this module refuse the whole file. Messages name lines, not users or items,
because they end up in logs that outlive the deletion.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd

from recbole_unlearn.data.request_table import read_delimited, refuse, short
from recbole_unlearn.digest import digest
from recbole_unlearn.errors import UsageError

SCOPES = {(True, True): "interaction", (True, False): "user", (False, True): "item"}  # of (has a user, has an item)
OPTIONAL = ["request_id", "received_at", "scope"]
SEPARATOR_OF = {".inter": "\t", ".csv": ","}
REQUEST_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:@-]{1,128}")  # becomes a file name
SECONDS = re.compile(r"[0-9]{9,11}(\.[0-9]+)?")  # since 1970; eight digits could be a date
FINER = re.compile(r"[0-9]{12,}(\.[0-9]+)?")  # milliseconds or finer: as seconds, they mean the year 5138 or later
EARLIEST = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class DeletionRequest:
    """What one request asks to forget, in external tokens.

    Args:
        request_id: 1 to 128 letters, digits and ``._:@-``.
        rows: any iterable of ``(scope, user, item)``. The scope is ``"interaction"``, ``"user"`` (the item is None) or
            ``"item"`` (the user is None). Kept as a tuple, sorted and distinct.
        received_at: ISO 8601, or seconds since 1970 as text; kept as ISO 8601 in UTC.

    Raises:
        UsageError: the request id is malformed, there are no rows, an id is no str or is empty, a scope contradicts its
            row's ids, or no request can have come at that time.
    """

    request_id: str
    rows: tuple
    received_at: str | None = None

    def __post_init__(self):
        if not isinstance(self.request_id, str):
            raise UsageError(f"A request's id must be a str, not a {type(self.request_id).__name__}.")
        if not REQUEST_ID.fullmatch(self.request_id):
            name = short(self.request_id)
            raise UsageError(f"Request id {name} is not 1 to 128 letters, digits and '._:@-', or it is '.' or '..'.")
        try:
            object.__setattr__(self, "rows", _distinct(map(_row, self.rows)))
            object.__setattr__(self, "received_at", _received(self.received_at))
        except (ValueError, TypeError) as error:
            raise UsageError(f"Request '{self.request_id}' has {error}.") from None
        if not self.rows:
            raise UsageError(f"Request '{self.request_id}' names nothing to forget.")


def read_requests(path: str, user_field: str, item_field: str) -> list[DeletionRequest]:
    """Read the requests of a file, in the order in which they first appear.

    Columns are ``user_field`` (a row asks to forget a user), ``item_field`` (an item) or both (an interaction), and
    optionally ``request_id`` (rows with the same one are one request), ``received_at`` (ISO 8601, in UTC unless it
    names a zone, or seconds since 1970; the earliest of a request counts) and ``scope`` (a check: it must fit the ids).
    Without ``request_id`` the file is one request, named after its content: the same file twice is the same request.

    Args:
        path: an atomic file (``.inter``, tabs), a ``.csv``, or a ``.jsonl`` with an object a line.
        user_field, item_field: names of the id columns.

    Raises:
        UsageError: the file cannot be read, or anything in it is malformed or ambiguous.
    """
    ids = {user_field, item_field}
    table = _read(path, {*ids, *OPTIONAL})
    columns = list(table.columns)
    if len(set(columns)) < len(columns) or set(columns) - ids - set(OPTIONAL) or not ids & set(columns):
        # The message does not name them: without a header, they are somebody's tokens.
        strange = len(columns) - len(set(columns) & {*ids, *OPTIONAL})
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
        refuse(path, _lines(names), ~names.isin(allowed), problem)
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
    """Each row's scope, which follows from its ids; a given one must agree."""
    scopes = [SCOPES.get((user is not None, item is not None)) for user, item in zip(users, items)]
    scopes = pd.Series(scopes, index=given.index, dtype=object)
    refuse(path, _lines(given), scopes.isna(), "have neither a user nor an item")
    refuse(
        path,
        _lines(given),
        ~given.isin(["", *SCOPES.values()]),
        f"have a scope that is none of {', '.join(SCOPES.values())}",
    )
    refuse(path, _lines(given), (given != "") & (given != scopes), "have a scope that their ids contradict")
    return scopes


def _times(path, texts):
    """Each row's time as ISO 8601 in UTC, which sorts in the order of time; None where there is none."""
    times, problems = {}, {}
    for text in filter(None, texts.unique()):
        try:
            times[text] = utc(text)
        except ValueError as error:
            problems[text] = str(error)
    for problem in dict.fromkeys(problems.values()):
        of_these = [text for text in problems if problems[text] == problem]
        refuse(path, _lines(texts), texts.isin(of_these), f"have a received_at that is {problem}")
    return [times.get(text) for text in texts]


def utc(text: str) -> str:
    """A time as ISO 8601 in UTC.

    Args:
        text: ISO 8601, in UTC unless it names a zone, or seconds since 1970.

    Raises:
        ValueError: the text is neither, or no request can have come at that time; the message says what it is.
    """
    if FINER.fullmatch(text):
        raise ValueError("in milliseconds or finer: give seconds since 1970, or ISO 8601")
    try:
        if SECONDS.fullmatch(text):
            time = datetime.fromtimestamp(float(text), timezone.utc)
        else:
            time = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))  # Python 3.10 does not know Z
        time = (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError("neither ISO 8601 nor seconds since 1970") from None
    if not EARLIEST <= time <= datetime.now(timezone.utc) + timedelta(days=1):  # a day, for clocks of other zones
        raise ValueError("before 1970 or after tomorrow")
    return time.isoformat()


def _read(path, columns):
    """The file's cells as text, empty where there is nothing; the index holds line numbers."""
    ending = Path(path).suffix.lower()
    if ending in SEPARATOR_OF:
        return read_delimited(path, SEPARATOR_OF[ending], columns)
    if ending == ".jsonl":
        return _read_json_lines(path)
    raise UsageError(f"Request file '{path}' should end in {', '.join(SEPARATOR_OF)} or .jsonl, which says its format.")


def _read_json_lines(path):
    """A row a line; a key that an object lacks is an empty cell."""
    rows, notes = {}, {}
    for number, line in enumerate(_lines_of(path), 1):
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
    refuse(path, notes, notes != "", "are no JSON objects of texts and numbers")
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    return pd.DataFrame(cells, index=list(rows), columns=columns, dtype=object)


def _lines_of(path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            return list(file)
    except FileNotFoundError:
        raise UsageError(f"Request file '{path}' does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Request file '{path}' cannot be read: {error}.") from None


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


def _lines(cells):
    """Empty notes, so that messages name only lines: a cell may be somebody's name in the wrong column."""
    return pd.Series("", index=cells.index, dtype=object)


def _row(row):
    """A row of a request, checked.

    Raises:
        ValueError: the row is malformed; the message says how and names nobody.
    """
    if not isinstance(row, (tuple, list)) or len(row) != 3:
        raise ValueError("a row that is not (scope, user, item)")
    scope, user, item = row
    for token in (user, item):
        if token is None:
            continue
        if not isinstance(token, str):
            raise ValueError(f"an id that is of type {type(token).__name__}: give the text that the data's files have")
        if not token or not _is_encodable(token):
            raise ValueError("an id that is empty or no text")
    if scope != SCOPES.get((user is not None, item is not None)):
        raise ValueError("a row whose scope its ids contradict")
    return tuple(row)


def _is_encodable(token):
    try:
        return bool(token.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _received(time):
    if time is None:
        return None
    if not isinstance(time, str):
        raise ValueError(f"a received_at that is of type {type(time).__name__}: give it as ISO 8601, a str")
    try:
        return utc(time)
    except ValueError as error:
        raise ValueError(f"a received_at that is {error}") from None


def _distinct(rows):
    """Rows as a tuple, sorted and without repetitions."""
    return tuple(sorted(set(rows), key=lambda row: (row[0], row[1] or "", row[2] or "")))
