"""A store: one folder a model, with the model's versions, the deletion requests and what became of them.

It knows nothing of models: callbacks write the files of a version. A process that is killed, at any instant, leaves a
store that the next one to take the lock puts in order. The database is the truth about it.
"""

import functools
import hashlib
import json
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from datetime import timedelta

from recbole_unlearn.deletion import database, records
from recbole_unlearn.deletion.database import RESTORE, explained
from recbole_unlearn.deletion.files import BUILDING, Lock, built_aside, place_link, repair_link, stage_link
from recbole_unlearn.deletion.files import write_folder, write_private
from recbole_unlearn.deletion.records import Version, iso, now, version_folder
from recbole_unlearn.deletion.request_file import DeletionRequest
from recbole_unlearn.errors import UsageError

KEY_BYTES = 32
VERSION_OR_PART = re.compile(rf"{re.escape(BUILDING)}|\d{{4,}}")  # what a store makes in its folder of versions


class Store:
    """Open a store, which writes nothing.

    In its folder are ``store.db``; ``key``, for keyed hashes; ``lock``; ``versions/0001`` and so on, which never change;
    ``current``, a link to the newest of them; and ``receipts``, for others to write to.

    Args:
        folder (str): made by :meth:`create`.

    Raises:
        UsageError: no store, a damaged one, or one of another release. Every method raises it where the disk is full or
            permissions are missing, and RuntimeError if it writes and the store is not :meth:`locked`.
    """

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self._lock = Lock(self.folder)
        self._link = os.path.join(self.folder, "current")
        if not os.path.isfile(os.path.join(self.folder, database.NAME)):
            raise UsageError(f"'{folder}' is no store: it has no {database.NAME}. Name a store's folder, or create one.")
        with explained(self.folder):
            database.check(self.folder)

    @classmethod
    def create(cls, folder, write, method="import", details=None):
        """Make a store with one version, or nothing if that fails.

        Args:
            folder (str): nothing may be there.
            write (callable): takes an empty folder and writes the version's files there.
            method (str): what made the version.
            details (dict, optional): plain data about the version.

        Returns:
            Store: opened.

        Raises:
            UsageError: the place is taken.
        """
        folder = os.path.abspath(folder)
        with explained(folder), built_aside(folder) as building:
            for name in ("versions", "receipts"):
                os.mkdir(os.path.join(building, name))
            write_private(os.path.join(building, "key"), secrets.token_bytes(KEY_BYTES))
            first = version_folder(building, 1)
            version = Version(1, None, method, iso(now()), write_folder(first, write), details or {}, first)
            database.create(building)
            with database.transaction(building) as db:
                records.insert_version(db, version)
            repair_link(first, os.path.join(building, "current"))
        return cls(folder)

    @contextmanager
    def locked(self, wait_seconds, on_wait=None):
        """Hold the store for writing during the block, put in order after whoever held it last.

        Args:
            wait_seconds (float): how long at most to wait for another process.
            on_wait (callable, optional): called once, with that process's id, before waiting.

        Raises:
            UsageError: another process holds the store.
        """
        with explained(self.folder):
            self._lock.acquire(wait_seconds, on_wait)
        try:
            with self._transaction() as db:
                db.execute("UPDATE requests SET status = 'pending' WHERE status = 'running'")
            self._tidy()
            yield
        finally:
            self._lock.release()

    def submit(self, requests):
        """Take in requests: all of them or, on an error, none.

        Args:
            requests (iterable): DeletionRequests, or objects with a ``request_id``, ``received_at`` and ``rows``.

        Returns:
            dict: request id to ``"new"``; ``"pending"``, known but not done, a failed one now to be tried again; or
            ``"done"``.

        Raises:
            UsageError: a request id is known with other rows. Their order and repetition do not matter.
        """
        outcome = {}
        with self._transaction() as db:
            for request in requests:
                content = self.keyed_hash(*sorted({json.dumps(row) for row in request.rows}))
                outcome.setdefault(request.request_id, records.submit(db, request, content))  # one may come twice
        return outcome

    def start(self, ids):
        """Mark requests as running. If this process is killed, they are pending again.

        Raises:
            ValueError: one is unknown, done or failed.
        """
        with self._transaction() as db:
            for request_id in ids:
                records.set_status(db, request_id, "running")

    def fail(self, ids, reason):
        """Mark requests as failed. They keep what they ask for and, submitted again, are pending again.

        Args:
            ids (iterable of str): of the requests.
            reason (str): one line.

        Raises:
            ValueError: one is unknown, done or failed.
        """
        finished_at = iso(now())
        with self._transaction() as db:
            for request_id in ids:
                records.set_status(db, request_id, "failed", reason=reason, finished_at=finished_at)

    def publish(self, write, method, details, receipts, forgotten, quarantine_days):
        """In one step, make a new version the current one, mark requests done, and quarantine the older versions.

        On an error nothing has changed. Only an interruption in the last moment, when all is decided, can find it done.

        Args:
            write (callable): takes an empty folder and writes the version's files there.
            method (str): what made the version.
            details (dict): plain data about the version.
            receipts (callable): takes the new Version; returns a dict of request id to receipt, a dict of plain data.
            forgotten (dict): request id to an iterable of keyed hashes; known ones stay with the request they have.
            quarantine_days (float): how long to keep the older versions from now on, if they are not in quarantine yet.

        Returns:
            Version: the new one.

        Raises:
            ValueError: a request is unknown, done or failed.
        """
        self._check_lock()
        parent = self.current().number
        folder = version_folder(self.folder, parent + 1)  # the newest number: its version is never removed
        try:
            with explained(self.folder):
                files = write_folder(folder, write)
                version = Version(parent + 1, parent, method, iso(now()), files, details, folder)
                receipts = receipts(version)
                stage_link(version.folder, self._link)  # before the commit, because it may find the disk full
                with self._transaction() as db:
                    until = iso(now() + timedelta(days=quarantine_days))
                    db.execute("UPDATE versions SET quarantined_until = ? WHERE quarantined_until IS NULL", (until,))
                    records.insert_version(db, version)
                    records.finish(db, version.number, receipts, forgotten)
                place_link(self._link)
        except BaseException:
            with suppress(OSError, UsageError):  # whoever takes the lock next tidies up what this cannot
                self._tidy()
            raise
        return version

    def finish(self, receipts, forgotten):
        """In one step, mark requests done that need no new version.

        Args:
            receipts (dict): request id to receipt, a dict of plain data.
            forgotten (dict): request id to an iterable of keyed hashes; known ones stay with the request they have.

        Raises:
            ValueError: a request is unknown, done or failed.
        """
        number = self.current().number
        with self._transaction() as db:
            records.finish(db, number, receipts, forgotten)

    def purge(self, now=None, keep=None):
        """Remove the folders of versions whose quarantine is over.

        Args:
            now (datetime, optional): with a time zone.
            keep (int, optional): remove all other quarantined versions than this many, the newest.

        Returns:
            list of int: numbers of the removed versions.
        """
        moment = iso(now or records.now())
        quarantined = [version for version in reversed(self.versions()) if version.quarantined_until]
        surplus = [] if keep is None else quarantined[keep:]
        removed = sorted(each.number for each in quarantined if each.quarantined_until <= moment or each in surplus)
        with self._transaction() as db:
            db.executemany("UPDATE versions SET removed_at = ? WHERE number = ?", [(moment, number) for number in removed])
        self._tidy()
        return removed

    def current(self):
        """The newest Version."""
        return self.versions()[-1]

    def versions(self):
        """The Versions that are not removed, the oldest first."""
        rows = self._query("SELECT * FROM versions WHERE removed_at IS NULL ORDER BY number")
        return [records.version_of(row, self.folder) for row in rows]

    def pending(self):
        """The pending requests as DeletionRequests, in the order of their submission."""
        rows = self._query(
            "SELECT request_id, rows, received_at FROM requests JOIN payloads USING (position) "
            "WHERE status = 'pending' ORDER BY position"
        )
        return [
            DeletionRequest(row["request_id"], tuple(map(tuple, json.loads(row["rows"]))), row["received_at"])
            for row in rows
        ]

    def requests(self):
        """All requests in the order of their submission, as dicts: what became of them, not what they ask for."""
        rows = self._query(
            "SELECT request_id, received_at, submitted_at, status, version, finished_at, reason "
            "FROM requests ORDER BY position"
        )
        return [dict(row) for row in rows]

    def counts(self):
        """Each status to its number of requests."""
        rows = self._query("SELECT status, COUNT(*) AS number FROM requests GROUP BY status")
        return {**dict.fromkeys(database.STATUSES, 0), **{row["status"]: row["number"] for row in rows}}

    def receipt(self, request_id):
        """The receipt of a done request.

        Raises:
            UsageError: the request is unknown or not done.
        """
        rows = self._query("SELECT status, receipt FROM requests WHERE request_id = ?", request_id)
        if not rows:
            raise UsageError(f"Store '{self.folder}' has no request '{request_id}'. Check the id, or submit the request.")
        if rows[0]["receipt"] is None:
            raise UsageError(f"Request '{request_id}' is {rows[0]['status']}: it has a receipt only when it is done.")
        return json.loads(rows[0]["receipt"])

    def forgotten(self):
        """The keyed hash of everything forgotten so far to the id of the request that was the first to ask for it."""
        return {row["hash"]: row["request_id"] for row in self._query("SELECT hash, request_id FROM forgotten")}

    def keyed_hash(self, *parts):
        """Hash texts (or None) so that only who has the store's key can tell what they were.

        Returns:
            str: 32 hexadecimal digits.
        """
        message = json.dumps(parts).encode()  # a list, so that ("ab", "c") and ("a", "bc") differ
        return hashlib.blake2b(message, key=self._key, digest_size=16).hexdigest()

    @functools.cached_property
    def _key(self):
        path = os.path.join(self.folder, "key")
        with explained(self.folder), open(path, "rb") as file:
            key = file.read()
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

    def _tidy(self):
        """Make the folder what the database says: its versions and no other, the newest of them ``current``."""
        versions = self.versions()
        folders = {version.folder for version in versions}
        with explained(self.folder):
            for entry in os.scandir(os.path.join(self.folder, "versions")):
                if VERSION_OR_PART.fullmatch(entry.name) and entry.path not in folders:
                    shutil.rmtree(entry.path)
            repair_link(versions[-1].folder, self._link)
