"""Deletion requests, and the files that they come in.

Nothing is guessed: one ambiguous row makes this module refuse the whole file. Messages name lines, not users or items,
because they end up in logs that outlive the deletion.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from recbole_unlearn.data.refusal import refuse, short, unnamed
from recbole_unlearn.data.request_file import read_rows
from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.digest import kept_digest
from recbole_unlearn.errors import UsageError

Row = tuple[str, str | None, str | None]  # scope, user, item
SCOPES = {(True, True): "interaction", (True, False): "user", (False, True): "item"}  # of (has a user, has an item)
OPTIONAL = ["request_id", "received_at", "scope"]
REQUEST_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:@-]{1,128}")  # becomes a file name
SECONDS = re.compile(r"[0-9]{9,11}(\.[0-9]+)?")  # since 1970; eight digits could be a date
FINER = re.compile(r"[0-9]{12,}(\.[0-9]+)?")  # milliseconds or finer: as seconds, they mean the year 5138 or later
HALF_PAIR = re.compile(r"[\ud800-\udfff]")  # of surrogates: no text
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
    rows: Sequence[Row]
    received_at: str | None = None

    def __post_init__(self):
        if not isinstance(self.request_id, str):
            raise UsageError(f"A request's id must be a str, not a {type(self.request_id).__name__}.")
        if not REQUEST_ID.fullmatch(self.request_id):
            name = short(self.request_id)
            raise UsageError(f"Request id {name} is not 1 to 128 letters, digits and '._:@-', or it is '.' or '..'.")
        try:
            object.__setattr__(self, "rows", _distinct(map(_row, self.rows)))
            if self.received_at is not None:
                object.__setattr__(self, "received_at", utc(self.received_at))
        except (ValueError, TypeError) as error:
            raise UsageError(f"Request '{self.request_id}' has {error}.") from None
        if not self.rows:
            raise UsageError(f"Request '{self.request_id}' names nothing to forget.")


def read_requests(source: str | RequestSource, user_field: str, item_field: str) -> list[DeletionRequest]:
    """Read the requests of a file or a query, in the order in which they first appear.

    Columns are ``user_field`` (a row asks to forget a user), ``item_field`` (an item) or both (an interaction), and
    optionally ``request_id`` (rows with the same one are one request), ``received_at`` (ISO 8601, in UTC unless it
    names a zone, or seconds since 1970; the earliest of a request counts) and ``scope`` (a check: it must fit the ids).
    Without ``request_id`` all rows are one request, named after its content: the same file twice is the same request.

    Args:
        source: the path of an atomic file (``.inter``, tabs), a ``.csv``, a ``.jsonl`` with an object a line, or a
            ``.parquet``; or a source of another format, or a query.
        user_field, item_field: names of the id columns.

    Raises:
        UsageError: the source cannot be read, or anything in it is malformed or ambiguous.
    """
    source = source if isinstance(source, RequestSource) else RequestSource(source)
    table = read_rows(source, user_field, item_field, OPTIONAL)
    rows = list(zip(_scopes(source, table), table["user"], table["item"]))
    times = _times(source, table)
    if "request_id" in table:
        names = table["request_id"]
        allowed = {name for name in names.unique() if REQUEST_ID.fullmatch(name)}
        problem = "have a request_id that is not 1 to 128 letters, digits and '._:@-', or is '.' or '..'"
        refuse(source, unnamed(table), ~names.isin(allowed), problem)
    else:
        names = [f"file-{kept_digest(json.dumps(_distinct(rows)))}"] * len(rows)
    requests: dict[str, tuple[list, set]] = {}
    for name, row, time in zip(names, rows, times):
        of_request, received = requests.setdefault(name, ([], set()))
        of_request.append(row)
        received.add(time)
    return [
        DeletionRequest(name, of_request, min(received - {None}, default=None))
        for name, (of_request, received) in requests.items()
    ]


def _scopes(source, table):
    """Each row's scope, which follows from its ids; a given one must agree."""
    scopes = [SCOPES[named] for named in zip(table["user"].notna(), table["item"].notna())]
    given, known = table.get("scope", unnamed(table)), SCOPES.values()
    refuse(source, unnamed(table), ~given.isin(["", *known]), f"have a scope that is none of {', '.join(known)}")
    refuse(source, unnamed(table), (given != "") & (given != scopes), "have a scope that their ids contradict")
    return scopes


def _times(source, table):
    """Each row's time as ISO 8601 in UTC, which sorts in the order of time; None where there is none."""
    texts = table.get("received_at", unnamed(table))
    times: dict[str, str] = {}
    problems: dict[str, list[str]] = {}
    for text in filter(None, texts.unique()):
        try:
            times[text] = utc(text)
        except ValueError as error:
            problems.setdefault(str(error), []).append(text)
    for problem, of_these in problems.items():
        refuse(source, unnamed(table), texts.isin(of_these), f"have {problem}")
    return [times.get(text) for text in texts]


def utc(text: str) -> str:
    """A time as ISO 8601 in UTC.

    Args:
        text: ISO 8601, in UTC unless it names a zone, or seconds since 1970.

    Raises:
        ValueError: the text is neither, or no request can have come at that time; the message says what it is.
    """
    wrong = "a received_at that is"
    if not isinstance(text, str):
        raise ValueError(f"{wrong} of type {type(text).__name__}: give it as ISO 8601, a str")
    if FINER.fullmatch(text):
        raise ValueError(f"{wrong} in milliseconds or finer: give seconds since 1970, or ISO 8601")
    try:
        if SECONDS.fullmatch(text):
            time = datetime.fromtimestamp(float(text), timezone.utc)
        else:
            time = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))  # Python 3.10 does not know Z
        time = (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError(f"{wrong} neither ISO 8601 nor seconds since 1970") from None
    if not EARLIEST <= time <= datetime.now(timezone.utc) + timedelta(days=1):  # a day, for clocks of other zones
        raise ValueError(f"{wrong} before 1970 or after tomorrow")
    return time.isoformat()


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
        if not token or HALF_PAIR.search(token):
            raise ValueError("an id that is empty or no text")
    if scope != SCOPES.get((user is not None, item is not None)):
        raise ValueError("a row whose scope its ids contradict")
    return tuple(row)


def _distinct(rows):
    """Rows as a tuple, sorted and without repetitions."""
    return tuple(sorted(set(rows), key=lambda row: (row[0], row[1] or "", row[2] or "")))
