"""A store: one folder a model, with the model's versions, the deletion requests and their outcomes.

A store knows nothing of models: callbacks write the files of a version. If a process is killed, at any instant, the
next process that takes the lock puts the store in order. The database is the truth about the store.
"""

import json
import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from recbole_unlearn.deletion.store import database, files
from recbole_unlearn.deletion.store.batches import Batches
from recbole_unlearn.deletion.store.database import explained, iso, now, plain
from recbole_unlearn.deletion.store.files import BUILDING, write_folder
from recbole_unlearn.deletion.store.keyed_hash import KEY_BYTES, fingerprint
from recbole_unlearn.deletion.store.layout import FAILED, Version, version_folder
from recbole_unlearn.deletion.store.ledger import finish
from recbole_unlearn.errors import FailedChecks, UsageError
from recbole_unlearn.files.checkpoint import remove

# Names that a store makes in its folder of versions.
OF_A_STORE = re.compile(rf"{re.escape(BUILDING)}|\d{{4,}}({re.escape(FAILED)})?")
INTERRUPTED = "interrupted"


class Store(Batches):
    """A store. Opening it writes nothing.

    Its folder holds ``store.db``; ``key``, for keyed hashes; ``lock``; ``versions/0001`` and so on, which never change;
    ``current``, a link to the newest version; and ``receipts``, which others write. ``versions/0002.failed`` is a
    version that failed its checks; it stays until another version is published. Only the owner can read the folder.

    Args:
        folder: made by :meth:`create`.

    Raises:
        UsageError: the store does not exist, is damaged, or is of another release. Every method raises it if the disk
            is full or permissions are missing. Methods that write raise RuntimeError unless the store is
            :meth:`locked`.
    """

    def __init__(self, folder: str):
        super().__init__(folder)
        self._link = os.path.join(self.folder, "current")

    @classmethod
    def create(
        cls,
        folder: str,
        write: Callable[[str], object],
        method: str = "import",
        details: dict[str, Any] | None = None,
        write_beside: Callable[[str], object] | None = None,
    ) -> "Store":
        """Make a store with one version, or nothing if that fails.

        Args:
            folder: a path where nothing exists.
            write: takes an empty folder and writes the version's files there.
            method: how the version was made.
            details: plain data about the version.
            write_beside: takes the store's own folder and writes there what all versions share.

        Returns:
            The store, opened.

        Raises:
            UsageError: something exists at the path.
        """
        folder = os.path.abspath(folder)
        key = secrets.token_bytes(KEY_BYTES)
        with explained(folder), files.private(), files.built_aside(folder) as building:
            for name in ("versions", "receipts"):
                os.mkdir(os.path.join(building, name))
            Path(building, "key").write_bytes(key)
            if write_beside:
                write_beside(building)
            first = version_folder(building, 1)
            version = Version(1, None, method, iso(now()), write_folder(first, write), details or {}, first)
            database.create(building, fingerprint(key))
            with database.transaction(building) as db:
                _insert(db, version)
            files.repair_link(first, os.path.join(building, "current"))
        return cls(folder)

    @contextmanager
    def locked(self, wait_seconds: float, on_wait: Callable[[int], object] | None = None) -> Iterator[None]:
        """Hold the store for writing during the block. First, put it in order after the last holder.

        Args:
            wait_seconds: the longest wait for another process.
            on_wait: called once with that process's id, before waiting.

        Raises:
            UsageError: another process holds the store.
        """
        with files.private():
            with explained(self.folder):
                self._lock.acquire(wait_seconds, on_wait)
            try:
                with self._transaction() as db:
                    if database.upgrade(db, fingerprint(self.key)):
                        for page in Path(self.folder, "receipts").glob("*.html"):  # the service writes them anew
                            remove(page)
                    db.execute(
                        "UPDATE requests SET status = 'pending', reason = COALESCE(reason, ?) WHERE status = 'running'",
                        (INTERRUPTED,),
                    )
                self._tidy()
                yield
            finally:
                self._lock.release()

    def publish(
        self,
        write: Callable[[str], object],
        method: str,
        details: Callable[[], dict[str, Any]],
        receipts: Callable[[Version], tuple[dict[str, dict[str, Any]], dict[str, Any]]],
        forgotten: Mapping[str, Iterable[str]],
        quarantined: dict[int, str],
    ) -> Version:
        """In one step, make a new version the current one, mark requests done, and quarantine the older versions.

        On an error nothing has changed. Only an interruption at the last moment, after the commit, leaves it done.

        Args:
            write: takes an empty folder and writes the version's files there.
            method: how the version was made.
            details: gives plain data about the version; called once its files are written.
            receipts: takes the new version; returns request id to its own part of the receipt, and the part that all
                receipts share, plain data. If it raises FailedChecks, the version's files are kept aside.
            forgotten: request id to keyed hashes; known hashes keep their request.
            quarantined: number of each older version to the time when it may be removed: see :meth:`retention`.

        Returns:
            The new version.

        Raises:
            ValueError: a request is unknown, done or failed.
        """
        self._check_lock()
        parent = self.current().number
        folder = version_folder(self.folder, parent + 1)  # the newest version is never removed, so the number is free
        try:
            with explained(self.folder):
                written = write_folder(folder, write)
                version = Version(parent + 1, parent, method, iso(now()), written, details(), folder)
                of_requests, shared = receipts(version)
                files.stage_link(version.folder, self._link)  # before the commit, because the disk may be full
                with self._transaction() as db:
                    _quarantine(db, quarantined)
                    _insert(db, version)
                    finish(db, version.number, of_requests, forgotten, shared)
                files.place_link(self._link)
        except FailedChecks:
            with explained(self.folder), suppress(FileNotFoundError):
                remove(folder + FAILED)
            with explained(self.folder):
                os.rename(folder, folder + FAILED)
            raise
        except BaseException:
            with suppress(OSError, UsageError):  # the next holder of the lock tidies up the rest
                self._tidy()
            raise
        return version

    def finish(
        self,
        receipts: dict[str, dict[str, Any]],
        forgotten: Mapping[str, Iterable[str]],
        shared: dict[str, Any] | None = None,
    ) -> None:
        """In one step, mark requests done that need no new version.

        Args:
            receipts: request id to its own part of the receipt, plain data.
            forgotten: request id to keyed hashes; known hashes keep their request.
            shared: the part that the receipts share, plain data.

        Raises:
            ValueError: a request is unknown, done or failed.
        """
        number = self.current().number
        with self._transaction() as db:
            finish(db, number, receipts, forgotten, shared or {})

    def retention(self, days: float, keep: int | None = None, grace_seconds: float = 0) -> dict[int, str]:
        """The time until which each version stays, once another one is published.

        Args:
            days: of quarantine, for versions that are not in quarantine yet.
            keep: number of the newest versions that may stay that long; None for all.
            grace_seconds: the least time that a superseded version stays: somebody may be reading it.

        Returns:
            Number of a version to a time, the oldest version first.
        """
        moment, grace = now(), timedelta(seconds=grace_seconds)
        until = self._ends(self.versions(), keep, grace, moment, iso(moment + max(timedelta(days=days), grace)))
        return dict(sorted(until.items()))

    def purge(self, now: datetime | None = None, keep: int | None = None, grace_seconds: float = 0) -> list[int]:
        """Remove the folders of versions whose quarantine is over.

        Args:
            now: the time to go by, with a time zone; by default this moment.
            keep: number of the newest quarantined versions whose quarantine goes on; None for all.
            grace_seconds: the least time that a superseded version stays.

        Returns:
            Numbers of the removed versions.
        """
        moment = now or database.now()
        quarantined = [version for version in self.versions() if version.quarantined_until]
        until = self._ends(quarantined, keep, timedelta(seconds=grace_seconds), moment)
        sooner = {
            each.number: until[each.number] for each in quarantined if until[each.number] != each.quarantined_until
        }
        removed = sorted(number for number, end in until.items() if end <= iso(moment))
        with self._transaction() as db:
            _quarantine(db, sooner)
            times = [(iso(moment), number) for number in removed]
            db.executemany("UPDATE versions SET removed_at = ? WHERE number = ?", times)
        self._tidy()
        return removed

    def current(self) -> Version:
        """The newest version."""
        return self.versions()[-1]

    def versions(self) -> list[Version]:
        """The versions that are not removed, the oldest first."""
        rows = self._query("SELECT * FROM versions WHERE removed_at IS NULL ORDER BY number")
        with explained(self.folder):
            if not rows:
                raise sqlite3.DatabaseError("it names no version")
            return [_version(row, self.folder) for row in rows]

    def _ends(self, versions, keep, grace, moment, default=None):
        """Number of a version to the time when its quarantine ends: of all but the newest, soon after the next one."""
        rows = self._query("SELECT number, created_at FROM versions")
        superseded = {row["number"] - 1: datetime.fromisoformat(row["created_at"]) for row in rows}
        ends = {}
        for place, version in enumerate(reversed(versions)):
            ends[version.number] = version.quarantined_until or default
            if keep is not None and place >= keep:
                soon = iso(superseded.get(version.number, moment) + grace)
                ends[version.number] = min(ends[version.number], soon)
        return ends

    def _tidy(self):
        """Make the folder match the database: its versions and no others, and ``current`` the newest."""
        versions = self.versions()
        failed = version_folder(self.folder, versions[-1].number + 1) + FAILED
        kept = {version.folder for version in versions} | {failed}
        with explained(self.folder):
            os.chmod(self.folder, 0o700)  # stores of earlier releases were open to others
            for entry in os.scandir(os.path.join(self.folder, "versions")):
                if OF_A_STORE.fullmatch(entry.name) and entry.path not in kept:
                    remove(entry.path)
            files.repair_link(versions[-1].folder, self._link)


def _insert(db, version):
    """Add a version that is not in quarantine."""
    columns = {**vars(version), "files": json.dumps(version.files), "details": json.dumps(version.details)}
    db.execute(
        "INSERT INTO versions (number, parent, method, created_at, files, details) "
        "VALUES (:number, :parent, :method, :created_at, :files, :details)",
        columns,
    )


def _quarantine(db, until):
    """Set when the quarantine of versions ends: number of a version to a time."""
    times = [(time, number) for number, time in until.items()]
    db.executemany("UPDATE versions SET quarantined_until = ? WHERE number = ?", times)


def _version(row, folder):
    """The Version of a row of the table."""
    columns = {name: row[name] for name in row.keys() if name != "removed_at"}
    columns |= {"files": plain(row["files"]), "details": plain(row["details"])}
    return Version(**columns, folder=version_folder(folder, row["number"]))
