"""The rows of a store's tables: versions, requests and hashes of what is forgotten."""

import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store.database import PAYLOADS
from recbole_unlearn.deletion.store.files import digest_of
from recbole_unlearn.errors import UsageError

ENDINGS = (".safetensors", ".pth")  # of checkpoints: this release's; RecBole's and earlier releases'
FAILED = ".failed"  # ending of the folder of a version that fails its checks
WORK = "work"  # folder of a store for a retraining in progress


@dataclass(frozen=True)
class Version:
    """A version of the model.

    Args:
        number: from 1.
        parent: number of the version that it was made from; None for the first.
        method: how it was made, e.g. ``"import"`` or ``"UnlearnRec"``.
        created_at: ISO 8601 in UTC, as all times of a store.
        files: name, relative to the folder, to SHA-256.
        details: plain data about it.
        folder: absolute.
        quarantined_until: when it may be removed; None for the current version.
    """

    number: int
    parent: int | None
    method: str
    created_at: str
    files: dict[str, str]
    details: dict[str, Any]
    folder: str
    quarantined_until: str | None = None

    def changed_files(self) -> list[str]:
        """Paths of files that are missing or have changed since the version was made. Reads every file in full."""
        paths = {os.path.join(self.folder, name): digest for name, digest in self.files.items()}
        return [path for path, digest in paths.items() if not os.path.isfile(path) or digest_of(path) != digest]


def store_folder(checkpoint: str | os.PathLike) -> str:
    """The folder of a checkpoint's store, beside the checkpoint: ``X.store`` for ``X.safetensors`` or ``X.pth``.

    Raises:
        UsageError: the checkpoint is itself a file of a store.
    """
    for parent in Path(checkpoint).absolute().parents:
        if parent.suffix == ".store":
            names = [parent.with_suffix(ending) for ending in ENDINGS]
            made_of = next(filter(Path.is_file, names), names[0])
            raise UsageError(f"'{checkpoint}' is a version in a store. Name the checkpoint of the store: {made_of}")
    return f"{os.path.splitext(checkpoint)[0]}.store"


def version_folder(store_folder: str, number: int) -> str:
    """The folder of a version."""
    return os.path.join(store_folder, "versions", f"{number:04d}")


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(timezone.utc)


def iso(moment: datetime) -> str:
    """A datetime with a time zone as ISO 8601 in UTC, to the second. Such texts sort in the order of time."""
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


def insert_version(db: sqlite3.Connection, version: Version) -> None:
    """Add a version that is not in quarantine."""
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


def quarantine(db: sqlite3.Connection, until: dict[int, str]) -> None:
    """Set when the quarantine of versions ends: number of a version to a time."""
    db.executemany(
        "UPDATE versions SET quarantined_until = ? WHERE number = ?", [(time, number) for number, time in until.items()]
    )


def version_of(row: sqlite3.Row, store_folder: str) -> Version:
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


def plain(text: str | None) -> Any:
    """The plain data of a JSON column.

    Raises:
        sqlite3.DatabaseError: the text is no JSON.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        raise sqlite3.DatabaseError("a column is no JSON") from None


def submit(db: sqlite3.Connection, request: DeletionRequest, content: str) -> str:
    """Add a request, or recognise a known one.

    Args:
        db: in a transaction.
        request: or an object like it.
        content: hash of its rows.

    Returns:
        ``"new"``; ``"pending"``: known but not done, and a failed one becomes pending again; or ``"done"``.

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


def set_status(db: sqlite3.Connection, request_id: str, status: str, **columns: Any) -> None:
    """Change the status of a pending or running request.

    Args:
        db: in a transaction.
        request_id: of the request.
        status: the new one.
        columns: other columns to set, name to value.

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


def finish(
    db: sqlite3.Connection,
    number: int,
    receipts: dict[str, dict[str, Any]],
    forgotten: dict[str, Iterable[str]],
    shared: dict[str, Any],
) -> None:
    """Mark requests done, remember what is forgotten, and erase what the requests ask for.

    Args:
        db: in a transaction.
        number: of the version that answers the requests.
        receipts: request id to its own part of the receipt, plain data.
        forgotten: request id to keyed hashes; known hashes keep their request.
        shared: the part that all of the receipts share, plain data.

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
    """Erase every byte of what done requests ask for.

    ``secure_delete`` overwrites a deleted row, but not the copies that a page keeps when its rows move to another page.
    It overwrites every page of a dropped table, so this drops the table and makes it again.
    """
    unfinished = db.execute(
        "SELECT position, rows FROM payloads JOIN requests USING (position) WHERE status != 'done'"
    ).fetchall()
    db.execute("DROP TABLE payloads")
    db.execute(PAYLOADS)
    db.executemany("INSERT INTO payloads VALUES (?, ?)", unfinished)
