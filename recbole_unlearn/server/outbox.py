"""Calls that a service owes to the controllers of requests: in the inbox's file, written with the change of state."""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ANNOUNCED = ("in_progress", "completed", "cancelled")  # OpenDSR knows no failure
FINAL = ("completed", "cancelled")
MOST_ATTEMPTS = 16  # five hours in all
LONGEST_SECONDS = 3600.0  # between two attempts
SCHEMA = """
CREATE TABLE urls (  -- to call whenever the state of a request changes
    position INTEGER NOT NULL,
    url TEXT NOT NULL,
    PRIMARY KEY (position, url)
) WITHOUT ROWID;
CREATE TABLE calls (  -- those that are not delivered yet
    number INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    url TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL  -- seconds since 1970
);
CREATE INDEX of_request ON calls (position, url, number);
CREATE INDEX by_time ON calls (due)"""


@dataclass(frozen=True)
class Call:
    """A call to make: that a controller's request has come to a state."""

    number: int
    url: str
    state: str
    attempts: int
    request_id: str
    controller: str
    expected_at: str


def register(db: sqlite3.Connection, position: int, urls: Iterable[str]) -> None:
    """Note the URLs of a request."""
    db.executemany("INSERT OR IGNORE INTO urls VALUES (?, ?)", [(position, url) for url in urls])


def announce(db: sqlite3.Connection, positions: Sequence[int], state: str) -> None:
    """Queue the calls that say that requests have come to a state."""
    if state not in ANNOUNCED:
        return
    these = json.dumps(positions)
    db.execute(
        "INSERT INTO calls (position, url, state, due) SELECT position, url, ?, ? FROM urls "
        "WHERE position IN (SELECT value FROM json_each(?)) ORDER BY position",
        (state, time.time(), these),
    )
    if state in FINAL:
        db.execute("DELETE FROM urls WHERE position IN (SELECT value FROM json_each(?))", (these,))


def waiting(db: sqlite3.Connection) -> int:
    """Number of calls that are not delivered yet."""
    return db.execute("SELECT COUNT(*) FROM calls").fetchone()[0]


def due(db: sqlite3.Connection, most: int) -> list[Call]:
    """Calls that are due, at most one for a URL of a request, so that its states arrive in order."""
    rows = db.execute(
        "SELECT number, url, calls.state, attempts, request_id, controller, expected_at "
        "FROM calls JOIN requests USING (position) WHERE due <= ? AND NOT EXISTS (SELECT 1 FROM calls AS earlier "
        "WHERE earlier.position = calls.position AND earlier.url = calls.url AND earlier.number < calls.number) "
        "ORDER BY due LIMIT ?",
        (time.time(), most),
    )
    return [Call(**dict(row)) for row in rows]


def delivered(db: sqlite3.Connection, call: Call) -> None:
    """Forget a call that has arrived, or that is given up."""
    db.execute("DELETE FROM calls WHERE number = ?", (call.number,))


def missed(db: sqlite3.Connection, call: Call) -> bool:
    """Put a call off that has not arrived, twice as long each time.

    Returns:
        Whether there is another attempt; if not, the call is given up.
    """
    if call.attempts + 1 >= MOST_ATTEMPTS:
        delivered(db, call)
        return False
    wait = min(2.0**call.attempts, LONGEST_SECONDS)
    db.execute("UPDATE calls SET attempts = attempts + 1, due = ? WHERE number = ?", (time.time() + wait, call.number))
    return True
