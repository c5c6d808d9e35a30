"""The database of an inbox: its tables, and what is done to their rows within a transaction."""

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store.database import iso, now
from recbole_unlearn.server import outbox

NAME = "inbox.db"
VERSION = 1
STATES = ("pending", "in_progress", "completed", "cancelled", "failed")
PAYLOADS = """
CREATE TABLE payloads (  -- what unfinished requests ask for
    position INTEGER PRIMARY KEY,
    asked TEXT NOT NULL  -- JSON: rows, received_at
)"""
SCHEMA = f"""
CREATE TABLE requests (
    position INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    controller TEXT NOT NULL,  -- name of the API key that it came with
    kind TEXT NOT NULL,
    content TEXT NOT NULL,  -- keyed hash of all that it says
    state TEXT NOT NULL CHECK (state IN {STATES}),
    received_at TEXT NOT NULL,
    expected_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    reason TEXT
);
CREATE INDEX by_state ON requests (state, position);
{PAYLOADS};
{outbox.SCHEMA};
PRAGMA user_version = {VERSION};
"""


class Unknown(Exception):
    """There is no such request, or it is another controller's."""


@dataclass(frozen=True)
class Entry:
    """What the inbox says of a request; times are ISO 8601 in UTC."""

    request_id: str
    controller: str
    kind: str
    state: str
    received_at: str
    expected_at: str
    changed_at: str
    reason: str | None


@dataclass(frozen=True)
class Taking:
    """A request that comes in.

    Args:
        request: what it asks to forget.
        controller: name of the API key that it came with.
        kind: the protocol it came by.
        content: keyed hash of all that it says.
        urls: to call when its state changes.
    """

    request: DeletionRequest
    controller: str
    kind: str
    content: str
    urls: tuple[str, ...] = ()


class Waiting(NamedTuple):
    """An unfinished request, as the file has it."""

    position: int
    request_id: str
    asked: str

    def request(self) -> DeletionRequest:
        """What it asks to forget."""
        return DeletionRequest(self.request_id, **json.loads(self.asked))


def opened(path: Path) -> sqlite3.Connection:
    """A connection to an inbox, made if need be, in autocommit mode; nobody else can open it meanwhile.

    Raises:
        sqlite3.DatabaseError: another process has it open, or it cannot be read.
    """
    path.touch(mode=0o600)
    os.chmod(path, 0o600)  # unfinished requests name people
    db = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        db.row_factory = sqlite3.Row
        for pragma in (
            "locking_mode = EXCLUSIVE",  # one service
            "auto_vacuum = FULL",  # no page of deleted rows stays
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "temp_store = MEMORY",
        ):
            db.execute(f"PRAGMA {pragma}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"schema version {version}; this release reads {VERSION}")
        if version == 0:
            db.executescript(f"BEGIN EXCLUSIVE; {SCHEMA} COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # of a killed process
    except BaseException:
        db.close()
        raise
    return db


def insert(db: sqlite3.Connection, taking: Taking, received_at: str, expected_at: str) -> None:
    """Add a pending request."""
    request = taking.request
    position = db.execute(
        "INSERT INTO requests (request_id, controller, kind, content, state, received_at, expected_at, changed_at) "
        "VALUES (?, ?, ?, ?, 'pending', ?, ?, ?)",
        (request.request_id, taking.controller, taking.kind, taking.content, received_at, expected_at, received_at),
    ).lastrowid
    assert position is not None
    asked = json.dumps({"rows": request.rows, "received_at": request.received_at})
    db.execute("INSERT INTO payloads VALUES (?, ?)", (position, asked))
    outbox.register(db, position, taking.urls)


def entry(db: sqlite3.Connection, request_id: str, controller: str | None = None) -> Entry:
    """A request, of this controller if one is given.

    Raises:
        Unknown: there is none.
    """
    row = db.execute(
        "SELECT request_id, controller, kind, state, received_at, expected_at, changed_at, reason FROM requests "
        "WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    if row is None or controller not in (None, row["controller"]):
        raise Unknown
    return Entry(**dict(row))


def unfinished(db: sqlite3.Connection, state: str, most: int) -> list[Waiting]:
    """Requests of a state, the oldest first."""
    found = db.execute(
        "SELECT position, request_id, asked FROM requests JOIN payloads USING (position) WHERE state = ? "
        "ORDER BY position LIMIT ?",
        (state, most),
    )
    return [Waiting(*row) for row in found.fetchall()]


def positions(db: sqlite3.Connection, ids: Iterable[str]) -> list[int]:
    """The positions of known requests."""
    found = db.execute(
        "SELECT position FROM requests WHERE request_id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
    )
    return [row["position"] for row in found.fetchall()]


def change(db: sqlite3.Connection, positions: Sequence[int], state: str, reason: str | None = None) -> None:
    """Change the state of requests, and queue the calls that this calls for."""
    db.execute(
        "UPDATE requests SET state = ?, changed_at = ?, reason = ? WHERE position IN (SELECT value FROM json_each(?))",
        (state, iso(now()), reason, json.dumps(positions)),
    )
    outbox.announce(db, positions, state)


def erase_finished(db: sqlite3.Connection) -> None:
    """Erase what finished requests ask for: see :func:`recbole_unlearn.deletion.store.ledger.finish`."""
    db.execute(
        "CREATE TEMP TABLE kept AS SELECT position, asked FROM payloads JOIN requests USING (position) "
        "WHERE state NOT IN ('completed', 'cancelled')"
    )
    db.execute("DROP TABLE payloads")
    db.execute(PAYLOADS)
    db.execute("INSERT INTO payloads SELECT position, asked FROM kept")
    db.execute("DROP TABLE kept")
