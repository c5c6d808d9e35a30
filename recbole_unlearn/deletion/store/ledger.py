"""The requests of a store: their rows, status and receipts, and hashes of what is forgotten for good."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import contextmanager
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import database, records
from recbole_unlearn.deletion.store.database import RESTORE, explained
from recbole_unlearn.deletion.store.files import Lock
from recbole_unlearn.deletion.store.records import iso, now
from recbole_unlearn.errors import UsageError

KEY_BYTES = 32
AT_A_TIME = 500  # parameters of one query


class Ledger:
    """The requests in the database of a store. Opening writes nothing.

    Args:
        folder: of the store.

    Raises:
        UsageError: the store does not exist, is damaged, or is of another release.
    """

    def __init__(self, folder: str):
        self.folder = os.path.abspath(folder)
        self._lock = Lock(self.folder)
        if not os.path.isfile(os.path.join(self.folder, database.NAME)):
            raise UsageError(
                f"'{folder}' is no store: it has no {database.NAME}. Name a store's folder, or create one."
            )
        with explained(self.folder):
            database.check(self.folder, fingerprint(self._key))

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
        outcome = {}
        with self._transaction() as db:
            for request in requests:
                content = self.keyed_hash(*sorted({json.dumps(row) for row in request.rows}))
                outcome.setdefault(
                    request.request_id, records.submit(db, request, content)
                )  # a request may be given twice
        return outcome

    def start(self, ids: Iterable[str]) -> None:
        """Mark requests as running. If this process is killed, they become pending again.

        Raises:
            ValueError: one is unknown, done or failed.
        """
        with self._transaction() as db:
            for request_id in ids:
                records.set_status(db, request_id, "running")

    def fail(self, ids: Iterable[str], reason: str) -> None:
        """Mark requests as failed. They keep their rows; a new submission or :meth:`retry` makes them pending again.

        Args:
            ids: of the requests.
            reason: one line.

        Raises:
            ValueError: one is unknown, done or failed.
        """
        finished_at = iso(now())
        with self._transaction() as db:
            for request_id in ids:
                records.set_status(db, request_id, "failed", reason=reason, finished_at=finished_at)

    def postpone(self, ids: Iterable[str], reason: str) -> None:
        """Mark requests as pending again for a reason that has nothing to do with them, such as a full disk.

        Args:
            ids: of the requests.
            reason: one line.

        Raises:
            ValueError: one is unknown, done or failed.
        """
        with self._transaction() as db:
            for request_id in ids:
                records.set_status(db, request_id, "pending", reason=reason)

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
                DeletionRequest(row["request_id"], tuple(map(tuple, records.plain(row["rows"]))), row["received_at"])
                for row in rows
                if tried in (None, row["reason"] is not None)
            ]

    def requests(self) -> list[dict[str, Any]]:
        """All requests in the order of their submission, as dicts with their status but without their rows."""
        rows = self._query(
            "SELECT request_id, received_at, submitted_at, status, version, finished_at, reason "
            "FROM requests ORDER BY position"
        )
        return [dict(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """The number of requests of each status."""
        rows = self._query("SELECT status, COUNT(*) AS number FROM requests GROUP BY status")
        return {**dict.fromkeys(database.STATUSES, 0), **{row["status"]: row["number"] for row in rows}}

    def receipt(self, request_id: str) -> dict[str, Any]:
        """The receipt of a done request.

        Raises:
            UsageError: the request is unknown or not done.
        """
        return self.receipts([request_id])[request_id]

    def receipts(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The receipts of done requests by request id, in the given order.

        Args:
            ids: of the requests.

        Raises:
            UsageError: a request is unknown or not done.
        """
        ids, rows = list(ids), {}
        for start in range(0, len(ids), AT_A_TIME):
            some = ids[start : start + AT_A_TIME]
            marks = ", ".join("?" * len(some))
            found = self._query(f"SELECT * FROM requests WHERE request_id IN ({marks})", *some)
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
            shared = {None: {}, **{row["number"]: records.plain(row["shared"]) for row in batches}}
            return {name: {**shared[rows[name]["batch"]], **records.plain(rows[name]["receipt"])} for name in ids}

    def batches(self) -> dict[int | None, list[str]]:
        """Number of a batch, whose requests were applied together, to their ids; None to those of earlier releases."""
        batches, columns = {}, {row["name"] for row in self._query("PRAGMA table_info(requests)")}
        batch = "batch" if "batch" in columns else "NULL"
        for name, number in self._query(
            f"SELECT request_id, {batch} FROM requests WHERE status = 'done' ORDER BY position"
        ):
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
        texts = ("null" if part is None else encode_basestring_ascii(part) for part in parts)
        digest = self._empty_hash.copy()
        digest.update(f"[{', '.join(texts)}]".encode())  # JSON, so that ("ab", "c") and ("a", "bc") differ
        return digest.hexdigest()

    @functools.cached_property
    def _empty_hash(self):
        return hashlib.blake2b(key=self._key, digest_size=16)

    @functools.cached_property
    def _key(self):
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
    def _transaction(self):
        self._check_lock()
        with explained(self.folder), database.transaction(self.folder) as db:
            yield db

    def _query(self, sql, *parameters):
        with explained(self.folder), database.connected(self.folder) as db:
            return db.execute(sql, parameters).fetchall()


def fingerprint(key: bytes) -> str:
    """A hash that distinguishes keys without revealing them."""
    return hashlib.blake2b(key=key, person=b"fingerprint", digest_size=16).hexdigest()
