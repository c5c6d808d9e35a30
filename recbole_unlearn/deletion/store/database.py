"""The SQLite database of a store: tables, columns, transactions, and errors that a user can mend."""

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recbole_unlearn.errors import UsageError

NAME = "store.db"
SCHEMA_VERSION = 2
OLD_SCHEMA_VERSION = 1  # lacks the parts that UPGRADE adds
STATUSES = ("pending", "running", "done", "failed")  # of a request
BUSY_SECONDS = 30  # the longest wait for a reader before a commit

PAYLOADS = """
CREATE TABLE payloads (  -- what unfinished requests ask for
    position INTEGER PRIMARY KEY,
    rows TEXT NOT NULL  -- JSON
)"""
INTEGRITY = """
CREATE TABLE integrity (  -- what tells damage and another store's key
    what TEXT PRIMARY KEY,  -- key, content
    digest TEXT NOT NULL
) WITHOUT ROWID"""
BATCHES = """
CREATE TABLE batches (  -- what the receipts of requests that were applied together have in common
    number INTEGER PRIMARY KEY,
    shared TEXT NOT NULL  -- JSON
)"""
BATCH_COLUMN = "batch INTEGER REFERENCES batches (number)"
UPGRADE = (
    INTEGRITY,
    BATCHES,
    f"ALTER TABLE requests ADD COLUMN {BATCH_COLUMN}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
CONTENT = {  # the digest covers: table to columns in order; not the times when versions may be removed
    "versions": "number, parent, method, created_at, files, details, quarantined_until IS NULL, removed_at IS NULL",
    "requests": "position, request_id, received_at, submitted_at, content, status, version, finished_at, reason, "
    "receipt, batch",
    "forgotten": "hash, request_id",
    "payloads": "position, rows",
    "batches": "number, shared",
}
SCHEMA = f"""
BEGIN;
{INTEGRITY};
{BATCHES};
CREATE TABLE versions (
    number INTEGER PRIMARY KEY,
    parent INTEGER REFERENCES versions (number),
    method TEXT NOT NULL,
    created_at TEXT NOT NULL,  -- times are ISO 8601 in UTC, to the second, so that they sort as text
    files TEXT NOT NULL,  -- JSON: name to SHA-256
    details TEXT NOT NULL,  -- JSON
    quarantined_until TEXT,
    removed_at TEXT
);
CREATE TABLE requests (
    position INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    received_at TEXT,
    submitted_at TEXT NOT NULL,
    content TEXT NOT NULL,  -- keyed hash of the rows
    status TEXT NOT NULL CHECK (status IN {STATUSES}),
    version INTEGER REFERENCES versions (number),
    finished_at TEXT,
    reason TEXT,
    receipt TEXT,  -- JSON: what is the request's own
    {BATCH_COLUMN},
    CHECK ((status = 'done') = (version IS NOT NULL AND receipt IS NOT NULL))
);
CREATE TABLE forgotten (
    hash TEXT PRIMARY KEY,
    request_id TEXT NOT NULL REFERENCES requests (request_id)
) WITHOUT ROWID;
{PAYLOADS};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

FREE = "Free some disk space and try again."
PERMIT = "Check that you may write there, and try again."
WAIT = "Try again when other processes have ended reading it."
RESTORE = "Restore the store from a backup."
CHECK = f"Check the disk. {RESTORE}"
OF_THE_SYSTEM = {errno.ENOSPC: FREE, errno.EDQUOT: FREE, errno.EFBIG: FREE, errno.EIO: CHECK}
OF_THE_SYSTEM |= {errno.EACCES: PERMIT, errno.EPERM: PERMIT, errno.EROFS: PERMIT}
# A file is missing, or something else is in its place.
DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}
OF_SQLITE = {"full": FREE, "readonly": PERMIT, "unable to open": PERMIT, "locked": WAIT}


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(timezone.utc)


def iso(moment: datetime) -> str:
    """A datetime with a time zone as ISO 8601 in UTC, to the second. Such texts sort in the order of time."""
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


def plain(text: str | None) -> Any:
    """The plain data of a JSON column.

    Raises:
        sqlite3.DatabaseError: the text is no JSON.
    """
    try:
        return json.loads(text or "")
    except ValueError:
        raise sqlite3.DatabaseError("a column is no JSON") from None


class Refused(UsageError):
    """The disk or its permissions refuse, not the request: the same call may succeed later."""


@contextmanager
def explained(folder: str) -> Iterator[None]:
    """Turn errors of the disk, permissions or a damaged database within the block into one line for the user.

    Args:
        folder: of the store, for the message.

    Raises:
        Refused: replaces an ``OSError`` or ``sqlite3.Error`` that the disk or its permissions cause.
        UsageError: replaces an error that damage causes. Other errors, which are bugs, pass through.
    """
    try:
        yield
    except OSError as error:
        where = f" ('{error.filename}')" if error.filename else ""
        if error.errno in OF_THE_SYSTEM:
            raise Refused(f"Store '{folder}': {error.strerror}{where}. {OF_THE_SYSTEM[error.errno]}") from error
        if error.errno in DAMAGE and str(error.filename).startswith(os.path.join(folder, "")):
            raise UsageError(f"Store '{folder}' is damaged: {error.strerror}{where}. {RESTORE}") from error
        raise
    except sqlite3.OperationalError as error:
        advice = next((advice for words, advice in OF_SQLITE.items() if words in str(error)), CHECK)
        raise Refused(f"Store '{folder}': {NAME}: {_one_line(error)}. {advice}") from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # such as an IntegrityError
            raise
        raise UsageError(f"Store '{folder}': {NAME} is damaged ({_one_line(error)}). {RESTORE}") from error


@contextmanager
def connected(folder: str) -> Iterator[sqlite3.Connection]:
    """Yield a connection to the database of a store, in autocommit mode.

    The connection ends with the block, because forked processes must not inherit SQLite's connections.
    """
    uri = f"{Path(folder, NAME).as_uri()}?mode=rw"  # never makes the file; reads only where writing is not permitted
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as db:
        db.row_factory = sqlite3.Row
        for pragma in ("secure_delete = ON", "foreign_keys = ON", "synchronous = FULL", "temp_store = MEMORY"):
            db.execute(f"PRAGMA {pragma}")
        yield db


@contextmanager
def transaction(folder: str) -> Iterator[sqlite3.Connection]:
    """Yield a connection that makes all changes together at the end of the block, or none on an error."""
    with connected(folder) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db
        if _version(db) == SCHEMA_VERSION:
            _keep(db, "content", _digest(db))
        db.execute("COMMIT")  # closing without it rolls back


def create(folder: str, fingerprint: str) -> None:
    """Make the database of a store, without any version.

    Args:
        folder: of the store.
        fingerprint: of its key.
    """
    Path(folder, NAME).touch(mode=0o600, exist_ok=False)  # unfinished requests name people
    with connected(folder) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.executescript(SCHEMA)
        _keep(db, "key", fingerprint)


def upgrade(db: sqlite3.Connection, fingerprint: str) -> bool:
    """Add what this release needs to the database of an earlier one, in a transaction.

    Returns:
        Whether the database is of an earlier release. If not, nothing changes.
    """
    is_old = _version(db) == OLD_SCHEMA_VERSION
    if is_old:
        for statement in UPGRADE:
            db.execute(statement)
        _keep(db, "key", fingerprint)
    return is_old


def check(folder: str, fingerprint: str) -> None:
    """Refuse the database of a store if it is damaged, has another schema or belongs to another key.

    Args:
        folder: of the store.
        fingerprint: of the store's key.

    Raises:
        UsageError: the schema or the key is another one.
        sqlite3.DatabaseError: the database is damaged.
    """
    with connected(folder) as db:
        db.execute("BEGIN")  # reads all of it as of one time
        version = _version(db)
        if version == 0:  # an empty file is a database without tables
            raise sqlite3.DatabaseError("it has no tables")
        if version not in (OLD_SCHEMA_VERSION, SCHEMA_VERSION):
            raise UsageError(
                f"Store '{folder}' has schema version {version}, and this release reads {SCHEMA_VERSION}. "
                "Use the release of recbole-unlearn that made the store."
            )
        problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        if version == SCHEMA_VERSION:
            kept = dict(map(tuple, db.execute("SELECT what, digest FROM integrity")))
            if kept.get("content") != _digest(db):
                raise sqlite3.DatabaseError("its content is not what was written")
            if kept.get("key") != fingerprint:
                raise UsageError(f"Store '{folder}': its file 'key' is another store's, or was changed. {RESTORE}")


def _one_line(error):
    return " ".join(str(error).split())  # SQLite quotes from the file


def _version(db):
    return db.execute("PRAGMA user_version").fetchone()[0]


def _keep(db, what, digest):
    db.execute(
        "INSERT INTO integrity VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET digest = excluded.digest "
        "WHERE digest != excluded.digest",  # else nothing is written
        (what, digest),
    )


def _digest(db):
    """A digest of the content: SQLite's own check notices broken pages, but no changed letter in a text."""
    digest = hashlib.blake2b(digest_size=16)
    for table, columns in CONTENT.items():
        for row in db.execute(f"SELECT {columns} FROM {table} ORDER BY 1"):
            digest.update(repr(tuple(row)).encode())
        digest.update(table.encode())
    return digest.hexdigest()
