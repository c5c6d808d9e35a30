"""The SQLite side of a store: its tables, transactions, and errors that a user can mend."""

import errno
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

from recbole_unlearn.errors import UsageError

NAME = "store.db"
SCHEMA_VERSION = 1
STATUSES = ("pending", "running", "done", "failed")  # of a request
BUSY_SECONDS = 30  # to wait for a reader to end before a commit

PAYLOADS = """
CREATE TABLE payloads (  -- what unfinished requests ask for
    position INTEGER PRIMARY KEY,
    rows TEXT NOT NULL  -- JSON
)"""
SCHEMA = f"""
BEGIN;
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
    receipt TEXT,  -- JSON
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
OF_SQLITE = {"full": FREE, "readonly": PERMIT, "unable to open": PERMIT, "locked": WAIT}


@contextmanager
def explained(folder):
    """Turn what the disk, permissions or a damaged database refuse within the block into one line for the user.

    Args:
        folder (str): of the store, to be named.

    Raises:
        UsageError: instead of such an ``OSError`` or ``sqlite3.Error``. Others, which are bugs, pass through.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in OF_THE_SYSTEM:
            raise
        where = f" ('{error.filename}')" if error.filename else ""
        raise UsageError(f"Store '{folder}': {error.strerror}{where}. {OF_THE_SYSTEM[error.errno]}") from error
    except sqlite3.OperationalError as error:
        advice = next((advice for words, advice in OF_SQLITE.items() if words in str(error)), CHECK)
        raise UsageError(f"Store '{folder}': {NAME}: {error}. {advice}") from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # such as an IntegrityError
            raise
        raise UsageError(f"Store '{folder}': {NAME} is damaged ({error}). {RESTORE}") from error


@contextmanager
def connected(folder):
    """Yield a connection to the database of a store, in autocommit mode.

    It lasts no longer than the block, because SQLite's connections must not be carried into forked processes.
    """
    uri = f"{Path(folder, NAME).as_uri()}?mode=rw"  # never makes the file; only reads where it may not write
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as db:
        db.row_factory = sqlite3.Row
        for pragma in ("secure_delete = ON", "foreign_keys = ON", "synchronous = FULL", "temp_store = MEMORY"):
            db.execute(f"PRAGMA {pragma}")
        yield db


@contextmanager
def transaction(folder):
    """Yield a connection whose changes are made all together at the end of the block, or not at all on an error."""
    with connected(folder) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")  # closing without it rolls back


def create(folder):
    """Make the database of a store, without any version."""
    Path(folder, NAME).touch(mode=0o600, exist_ok=False)  # unfinished requests name people
    with connected(folder) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.executescript(SCHEMA)


def check(folder):
    """Raise UsageError if the database of a store is damaged or has another schema."""
    with connected(folder) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"Store '{folder}' has schema version {version}, and this release reads {SCHEMA_VERSION}. "
                "Use the release of recbole-unlearn that made the store."
            )
        problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(" ".join(problem.split()))  # from several lines
