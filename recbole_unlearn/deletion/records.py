"""What a store keeps in its tables: versions, requests and what is forgotten."""

import json
import os
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from recbole_unlearn.deletion.database import PAYLOADS
from recbole_unlearn.deletion.files import digest_of
from recbole_unlearn.errors import UsageError

ENDINGS = (".safetensors", ".pth")  # of checkpoints: ours, and RecBole's or those of earlier releases
FAILED = ".failed"  # ending of the folder of a version that fails its checks
WORK = "work"  # folder of a store for a retraining that is under way


@dataclass(frozen=True)
class Version:
    """A state of the model.

    Args:
        number (int): from 1.
        parent (int or None): number of the version that it was made of.
        method (str): what made it, e.g. ``"import"`` or ``"UnlearnRec"``.
        created_at (str): ISO 8601 in UTC, as all times of a store.
        files (dict): name, relative to the folder, to SHA-256.
        details (dict): plain data, whatever the method tells of it.
        folder (str): absolute.
        quarantined_until (str or None): when it may be removed; None for the current version.
    """

    number: int
    parent: int | None
    method: str
    created_at: str
    files: dict
    details: dict
    folder: str
    quarantined_until: str | None = None

    def changed_files(self) -> list[str]:
        """Paths of its files that are missing or have changed since the version was made, each read as a whole."""
        paths = {os.path.join(self.folder, name): digest for name, digest in self.files.items()}
        return [path for path, digest in paths.items() if not os.path.isfile(path) or digest_of(path) != digest]


def store_folder(checkpoint):
    """Where the store of a checkpoint is: beside it, ``X.store`` for ``X.safetensors`` or ``X.pth``.

    Raises:
        UsageError: the checkpoint is a store's own file.
    """
    for parent in Path(checkpoint).absolute().parents:
        if parent.suffix == ".store":
            names = [parent.with_suffix(ending) for ending in ENDINGS]
            made_of = next(filter(Path.is_file, names), names[0])
            raise UsageError(f"'{checkpoint}' is a version in a store. Name the checkpoint of the store: {made_of}")
    return f"{os.path.splitext(checkpoint)[0]}.store"


def version_folder(store_folder, number):
    """Where a version's files are."""
    return os.path.join(store_folder, "versions", f"{number:04d}")


def now():
    """This moment, in UTC."""
    return datetime.now(timezone.utc)


def iso(moment):
    """A datetime with a time zone as ISO 8601 in UTC, to the second: such texts sort as the times do."""
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


def insert_version(db, version):
    """Add a Version, not quarantined."""
    db.execute(
        "INSERT INTO versions (number, parent, method, created_at, files, details) VALUES (?, ?, ?, ?, ?, ?)",
        (
            version.number,
            version.parent,
            version.method,
            version.created_at,
            json.dumps(version.files),
            json.dumps(version.details),
        ),
    )


def quarantine(db, until):
    """Set until when versions stay; a dict of their numbers to a time."""
    db.executemany(
        "UPDATE versions SET quarantined_until = ? WHERE number = ?", [(time, number) for number, time in until.items()]
    )


def version_of(row, store_folder):
    """The Version of a row of the table."""
    return Version(
        number=row["number"],
        parent=row["parent"],
        method=row["method"],
        created_at=row["created_at"],
        files=plain(row["files"]),
        details=plain(row["details"]),
        folder=version_folder(store_folder, row["number"]),
        quarantined_until=row["quarantined_until"],
    )


def plain(text):
    """The plain data of a JSON column.

    Raises:
        sqlite3.DatabaseError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        raise sqlite3.DatabaseError("a column is no JSON") from None


def submit(db, request, content):
    """Take in a request, or recognise it.

    Args:
        db (sqlite3.Connection): in a transaction.
        request (DeletionRequest): or an object like it.
        content (str): hash of its rows.

    Returns:
        str: ``"new"``; ``"pending"``, known but not done, a failed one now to be tried again; or ``"done"``.

    Raises:
        UsageError: the request id is known with other rows.
    """
    known = db.execute("SELECT content, status FROM requests WHERE request_id = ?", (request.request_id,)).fetchone()
    if known is None:
        position = db.execute(
            "INSERT INTO requests (request_id, received_at, submitted_at, content, status) VALUES (?, ?, ?, ?, 'pending')",
            (request.request_id, request.received_at, iso(now()), content),
        ).lastrowid
        db.execute("INSERT INTO payloads VALUES (?, ?)", (position, json.dumps(list(request.rows))))
        return "new"
    if known["content"] != content:
        raise UsageError(
            f"Request '{request.request_id}' is known with other rows, so nothing was submitted. "
            "Give these rows a request id of their own."
        )
    db.execute(
        "UPDATE requests SET status = 'pending', finished_at = NULL WHERE request_id = ? AND status = 'failed'",
        (request.request_id,),
    )
    return "done" if known["status"] == "done" else "pending"


def set_status(db, request_id, status, **columns):
    """Move a request on that is pending or running.

    Args:
        db (sqlite3.Connection): in a transaction.
        request_id (str): which.
        status (str): its new one.
        columns: names and values of what else changes.

    Raises:
        ValueError: the request is unknown, done or failed.
    """
    columns["status"] = status
    changed = db.execute(
        f"UPDATE requests SET {', '.join(f'{name} = ?' for name in columns)} "
        "WHERE request_id = ? AND status IN ('pending', 'running')",
        (*columns.values(), request_id),
    )
    if changed.rowcount != 1:
        raise ValueError(f"Request '{request_id}' cannot become {status}: it is unknown, done or failed.")


def finish(db, number, receipts, forgotten, shared):
    """Mark requests done, remember what is forgotten, and erase what the requests ask for.

    Args:
        db (sqlite3.Connection): in a transaction.
        number (int): of the version that answers the requests.
        receipts (dict): request id to what is its own in its receipt, a dict of plain data.
        forgotten (dict): request id to an iterable of keyed hashes; those that are known already stay as they are.
        shared (dict): what all of the receipts say besides, plain data.

    Raises:
        ValueError: a request is unknown, done or failed.
    """
    batch = db.execute("INSERT INTO batches (shared) VALUES (?)", (json.dumps(shared),)).lastrowid if receipts else None
    columns = {"version": number, "finished_at": iso(now()), "reason": None, "batch": batch}
    for request_id, receipt in receipts.items():
        set_status(db, request_id, "done", receipt=json.dumps(receipt), **columns)
    rows = ((each, request_id) for request_id, hashes in forgotten.items() for each in hashes)
    db.executemany("INSERT INTO forgotten VALUES (?, ?) ON CONFLICT (hash) DO NOTHING", rows)
    _erase_payloads(db)


def _erase_payloads(db):
    """Leave no byte of what done requests ask for.

    ``secure_delete`` overwrites a row that is deleted, but not the copies that stay behind in a page when its rows move
    to another page. It does overwrite every page of a table that is dropped.
    """
    unfinished = db.execute(
        "SELECT position, rows FROM payloads JOIN requests USING (position) WHERE status != 'done'"
    ).fetchall()
    db.execute("DROP TABLE payloads")
    db.execute(PAYLOADS)
    db.executemany("INSERT INTO payloads VALUES (?, ?)", unfinished)
