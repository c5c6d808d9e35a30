"""The requests of a store: their rows, status and receipts, and hashes of what is forgotten for good."""

import functools
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import database
from recbole_unlearn.deletion.store.database import RESTORE, explained, iso, now, plain
from recbole_unlearn.deletion.store.files import Lock
from recbole_unlearn.deletion.store.keyed_hash import KEY_BYTES, KeyedHash, fingerprint
from recbole_unlearn.errors import UsageError

AT_A_TIME = 500  # parameters of one query


class Ledger:
    """The requests in the database of a store. Opening writes nothing.

    Args:
        folder: of the store.

    Raises:
        UsageError: the store does not exist, is damaged, or is of another release.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = os.path.abspath(folder)
        self._lock = Lock(self.folder)
        if not os.path.isfile(os.path.join(self.folder, database.NAME)):
            raise UsageError(
                f"'{folder}' is no store: it has no {database.NAME}. Name a store's folder, or create one."
            )
        with explained(self.folder):
            database.check(self.folder, fingerprint(self.key))

    def submit(self, requests: Iterable[DeletionRequest]) -> dict[str, str]:
        """Add requests: all of them or, on an error, none.

        Args:
            requests: to add; other objects with a ``request_id``, ``received_at`` and ``rows`` will do.

        Returns:
            Request id to ``"new"``; ``"pending"``: known but not done, and a failed one becomes pending again; or
            ``"done"``.

        Raises:
            UsageError: a request id is known with other rows. The order and repetition of rows do not matter.
        """
        outcome: dict[str, str] = {}
        with self._transaction() as db:
            for request in requests:  # a request may be given twice: its first outcome counts
                outcome.setdefault(request.request_id, _submit(db, request, self._content(request)))
        return outcome

    def mark(self, ids: Iterable[str], status: str, reason: str | None = None) -> None:
        """Change the status of pending or running requests, of all of them or, on an error, of none.

        Args:
            ids: of the requests.
            status: ``"running"``: they become pending again if this process is killed; ``"failed"``: they keep their
                rows, and a new submission or :meth:`retry` makes them pending again; or ``"pending"``: for a reason
                that has nothing to do with them, such as a full disk.
            reason: one line; None keeps the last one.

        Raises:
            ValueError: one is unknown, done or failed.
        """
        columns = {"reason": reason} if reason is not None else {}
        if status == "failed":
            columns["finished_at"] = iso(now())
        with self._transaction() as db:
            for request_id in ids:
                _change(db, request_id, status, **columns)

    def retry(self) -> None:
        """Mark all failed requests as pending again."""
        with self._transaction() as db:
            db.execute("UPDATE requests SET status = 'pending', finished_at = NULL WHERE status = 'failed'")

    def pending(self, tried: bool | None = None) -> list[DeletionRequest]:
        """The pending requests in the order of their submission.

        Args:
            tried: True for only those that an earlier call has failed to apply, False for only the others.
        """
        rows = self._query(
            "SELECT request_id, rows, received_at, reason FROM requests JOIN payloads USING (position) "
            "WHERE status = 'pending' ORDER BY position"
        )
        with explained(self.folder):
            return [
                DeletionRequest(row["request_id"], plain(row["rows"]), row["received_at"])
                for row in rows
                if tried in (None, row["reason"] is not None)
            ]

    def unfinished(self) -> list[DeletionRequest]:
        """The requests that are not done, whatever their status; one without a time has that of its submission."""
        rows = self._query(
            "SELECT request_id, rows, COALESCE(received_at, submitted_at) AS time FROM requests "
            "JOIN payloads USING (position) WHERE status != 'done' ORDER BY position"
        )
        with explained(self.folder):
            return [DeletionRequest(row["request_id"], plain(row["rows"]), row["time"]) for row in rows]

    def requests(self) -> list[dict[str, Any]]:
        """All requests in the order of their submission, as dicts with their status but without their rows."""
        columns = "request_id, received_at, submitted_at, status, version, finished_at, reason"
        return [dict(row) for row in self._query(f"SELECT {columns} FROM requests ORDER BY position")]

    def done(self) -> set[str]:
        """The ids of done requests."""
        return {row["request_id"] for row in self._query("SELECT request_id FROM requests WHERE status = 'done'")}

    def done_rows(self) -> list[sqlite3.Row]:
        """The ``received_at``, ``submitted_at`` and ``receipt`` (the request's own part, JSON) of done requests."""
        return self._query("SELECT received_at, submitted_at, receipt FROM requests WHERE status = 'done'")

    def states(self, requests: Iterable[DeletionRequest]) -> dict[str, str]:
        """Request id to the status of each request that is known, ``"other"`` if it is known with other rows."""
        asked = {request.request_id: self._content(request) for request in requests}
        ids, states = list(asked), {}
        for start in range(0, len(ids), AT_A_TIME):
            some = ids[start : start + AT_A_TIME]
            sql = f"SELECT request_id, content, status FROM requests WHERE request_id IN ({', '.join('?' * len(some))})"
            for name, content, status in self._query(sql, *some):
                states[name] = status if content == asked[name] else "other"
        return states

    def counts(self) -> dict[str, int]:
        """The number of requests of each status."""
        rows = self._query("SELECT status, COUNT(*) AS number FROM requests GROUP BY status")
        return {**dict.fromkeys(database.STATUSES, 0), **{row["status"]: row["number"] for row in rows}}

    def receipt(self, request_id: str) -> dict[str, Any]:
        """The receipt of a done request; see :meth:`receipts`."""
        return self.receipts([request_id])[request_id]

    def receipts(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The receipts of done requests by request id, in the given order.

        Raises:
            UsageError: a request is unknown or not done.
        """
        ids = list(ids)
        rows: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), AT_A_TIME):
            some = ids[start : start + AT_A_TIME]
            found = self._query(f"SELECT * FROM requests WHERE request_id IN ({', '.join('?' * len(some))})", *some)
            rows |= {row["request_id"]: {"batch": None, **dict(row)} for row in found}  # earlier releases: no batches
        for request_id in ids:
            if request_id not in rows:
                raise UsageError(
                    f"Store '{self.folder}' has no request '{request_id}'. Check the id, or submit the request."
                )
            if rows[request_id]["receipt"] is None:
                status = rows[request_id]["status"]
                raise UsageError(f"Request '{request_id}' is {status}: it has a receipt only when it is done.")
        batches = self._query("SELECT * FROM batches") if any(row["batch"] is not None for row in rows.values()) else []
        with explained(self.folder):
            shared = {None: {}, **{row["number"]: plain(row["shared"]) for row in batches}}
            return {name: {**shared[rows[name]["batch"]], **plain(rows[name]["receipt"])} for name in ids}

    def batches(self) -> dict[int | None, list[str]]:
        """Number of a batch, whose requests were applied together, to their ids; None to those of earlier releases."""
        columns = {row["name"] for row in self._query("PRAGMA table_info(requests)")}
        batch = "batch" if "batch" in columns else "NULL"
        rows = self._query(f"SELECT request_id, {batch} FROM requests WHERE status = 'done' ORDER BY position")
        batches: dict[int | None, list[str]] = {}
        for name, number in rows:
            batches.setdefault(number, []).append(name)
        return batches

    def forgotten(self) -> dict[str, str]:
        """Keyed hash of everything forgotten so far to the id of the first request that named it."""
        return dict(map(tuple, self._query("SELECT hash, request_id FROM forgotten")))

    def keyed_hash(self, *parts: str | None) -> str:
        """Hash texts (or None) so that only somebody with the store's key can find out what they were.

        Returns:
            32 hexadecimal digits.
        """
        return self._hash(*parts)

    def _content(self, request):
        """The keyed hash of what a request asks for."""
        return self.keyed_hash(*sorted({json.dumps(row) for row in request.rows}))

    @functools.cached_property
    def _hash(self):
        return KeyedHash(self.key)

    @functools.cached_property
    def key(self) -> bytes:
        """The key of the hashes, which nobody else may have."""
        path = os.path.join(self.folder, "key")
        if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would wait
            raise UsageError(f"Store '{self.folder}' is damaged: '{path}' is no file. {RESTORE}")
        with explained(self.folder):
            key = Path(path).read_bytes()
        if len(key) != KEY_BYTES:
            raise UsageError(f"'{path}' has {len(key)} bytes instead of {KEY_BYTES}. {RESTORE}")
        return key

    def _check_lock(self):
        if not self._lock.held:
            raise RuntimeError("A store is written to only within 'with store.locked(...):'.")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._check_lock()
        with explained(self.folder), database.transaction(self.folder) as db:
            yield db

    def _query(self, sql, *parameters):
        with explained(self.folder), database.connected(self.folder) as db:
            return db.execute(sql, parameters).fetchall()


def finish(
    db: sqlite3.Connection,
    number: int,
    receipts: dict[str, dict[str, Any]],
    forgotten: Mapping[str, Iterable[str]],
    shared: dict[str, Any],
) -> None:
    """Mark requests done, remember what is forgotten, and erase what the requests ask for.

    Args:
        db: in a transaction.
        number: of the version that answers the requests.
        receipts, forgotten, shared: as in :meth:`~recbole_unlearn.deletion.store.Store.finish`.

    Raises:
        ValueError: a request is unknown, done or failed.
    """
    batch = db.execute("INSERT INTO batches (shared) VALUES (?)", (json.dumps(shared),)).lastrowid if receipts else None
    columns = {"version": number, "finished_at": iso(now()), "reason": None, "batch": batch}
    for request_id, receipt in receipts.items():
        _change(db, request_id, "done", receipt=json.dumps(receipt), **columns)
    rows = ((each, request_id) for request_id, hashes in forgotten.items() for each in hashes)
    db.executemany("INSERT INTO forgotten VALUES (?, ?) ON CONFLICT (hash) DO NOTHING", rows)
    # `secure_delete` overwrites a deleted row, but not the copies that a page keeps when its rows move to another page.
    # It overwrites every page of a dropped table, so this drops the table and makes it again.
    unfinished = db.execute(
        "SELECT position, rows FROM payloads JOIN requests USING (position) WHERE status != 'done'"
    ).fetchall()
    db.execute("DROP TABLE payloads")
    db.execute(database.PAYLOADS)
    db.executemany("INSERT INTO payloads VALUES (?, ?)", unfinished)


def _submit(db, request, content):
    """Add a request, or recognise a known one by its rows' hash; the outcome."""
    name = request.request_id
    known = db.execute("SELECT content, status FROM requests WHERE request_id = ?", (name,)).fetchone()
    if known is None:
        position = db.execute(
            "INSERT INTO requests (request_id, received_at, submitted_at, content, status) "
            "VALUES (?, ?, ?, ?, 'pending')",
            (name, request.received_at, iso(now()), content),
        ).lastrowid
        db.execute("INSERT INTO payloads VALUES (?, ?)", (position, json.dumps(list(request.rows))))
        return "new"
    if known["content"] != content:
        raise UsageError(
            f"Request '{name}' is known with other rows, so nothing was submitted. "
            "Give these rows a request id of their own."
        )
    again = "UPDATE requests SET status = 'pending', finished_at = NULL WHERE request_id = ? AND status = 'failed'"
    db.execute(again, (name,))
    return "done" if known["status"] == "done" else "pending"


def _change(db, request_id, status, **columns):
    """Change the status and other columns of a pending or running request."""
    columns["status"] = status
    changed = db.execute(
        f"UPDATE requests SET {', '.join(f'{name} = ?' for name in columns)} "
        "WHERE request_id = ? AND status IN ('pending', 'running')",
        (*columns.values(), request_id),
    )
    if changed.rowcount != 1:
        raise ValueError(f"Request '{request_id}' cannot become {status}: it is unknown, done or failed.")
