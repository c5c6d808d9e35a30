"""The requests that a service has taken: durable before they are answered, until the store has done them.

A request is ``pending`` until the worker takes it, then ``in_progress``, and at last ``completed``; ``cancelled`` if it
is cancelled while pending; ``failed`` if the store cannot apply it by itself. What a request asks to forget is erased
from the file when it is completed or cancelled.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store.database import iso, now
from recbole_unlearn.errors import UsageError
from recbole_unlearn.server import outbox, rows
from recbole_unlearn.server.commits import GroupCommit
from recbole_unlearn.server.rows import STATES, Entry, Taking

MOST_FAILED = 10_000  # of the failed requests that are looked up at a time


class Conflict(Exception):
    """A request cannot be taken or cancelled as it is; the message says why, without naming anybody."""


class Inbox:
    """The inbox of a store, a database in its folder that one process at a time has open.

    Most methods return a future, which ends when what it says is on the disk.

    Args:
        folder: of the store.
        expected_seconds: from the arrival of a request to the time when it should be completed.

    Raises:
        UsageError: another service serves the store, or the inbox cannot be read.
    """

    def __init__(self, folder: str | os.PathLike, expected_seconds: float = 86400) -> None:
        self._expected = timedelta(seconds=expected_seconds)
        path = Path(folder, rows.NAME)
        try:
            self.commits = GroupCommit(lambda: rows.opened(path))
        except sqlite3.OperationalError as error:
            hint = "Another service serves this store: stop it" if "locked" in str(error) else "Check the disk"
            raise UsageError(f"'{path}': {error}. {hint}, and start this one again.") from None
        except sqlite3.DatabaseError as error:
            raise UsageError(f"'{path}' is damaged ({error}). Restore it from a backup.") from None

    def close(self) -> None:
        """Write what is queued, and close the file."""
        self.commits.close()

    def add(self, taking: Taking) -> "Future[Entry]":
        """Take a request, once: the same request again gives the same entry, and tries again one that has failed.

        Raises:
            Conflict: its id is known with other content, or was cancelled.
        """

        def work(db):
            name, moment = taking.request.request_id, now()
            known = db.execute("SELECT * FROM requests WHERE request_id = ?", (name,)).fetchone()
            if known is None:
                rows.insert(db, taking, iso(moment), iso(moment + self._expected))
            elif (known["controller"], known["content"]) != (taking.controller, taking.content):
                raise Conflict("This request id is known with other content. Give this request an id of its own.")
            elif known["state"] == "cancelled":
                raise Conflict("This request was cancelled. Give it a new id.")
            elif known["state"] == "failed":
                rows.change(db, [known["position"]], "pending")
            return rows.entry(db, name)

        return self.commits(work)

    def entry(self, controller: str, request_id: str) -> "Future[Entry]":
        """A controller's request.

        Raises:
            Unknown: there is none.
        """
        return self.commits(lambda db: rows.entry(db, request_id, controller))

    def cancel(self, controller: str, request_id: str) -> "Future[Entry]":
        """Cancel a controller's pending request; a cancelled one stays so.

        Raises:
            Unknown: there is none.
            Conflict: it is not pending any more.
        """

        def work(db):
            known = rows.entry(db, request_id, controller)
            if known.state == "cancelled":
                return known
            if known.state != "pending":
                raise Conflict(f"This request is {known.state}: only a pending one can be cancelled.")
            rows.change(db, rows.positions(db, [request_id]), "cancelled")
            rows.erase_finished(db)
            return rows.entry(db, request_id)

        return self.commits(work, erases=True)

    def take(self, most: int) -> list[DeletionRequest]:
        """Requests to apply, the oldest first, in progress from now on; first those that were before.

        Unlike the other methods this one and :meth:`failed` wait, and read what the requests ask for in the caller's
        thread: the inbox's own has answers to write.

        Args:
            most: of them.
        """

        def work(db):
            before = rows.unfinished(db, "in_progress", most)
            new = rows.unfinished(db, "pending", most - len(before))
            rows.change(db, [waiting.position for waiting in new], "in_progress")
            return before + new

        return [waiting.request() for waiting in self.commits(work).result()]

    def settle(self, completed: Iterable[str], failed: Mapping[str, str]) -> "Future[None]":
        """Note what became of requests, and erase what the completed ones asked for.

        Args:
            completed: request ids.
            failed: request ids to reasons.
        """
        completed = list(completed)

        def work(db):
            rows.change(db, rows.positions(db, completed), "completed")
            for request_id, reason in failed.items():
                rows.change(db, rows.positions(db, [request_id]), "failed", reason)
            rows.erase_finished(db)

        return self.commits(work, erases=True)

    def failed(self) -> list[DeletionRequest]:
        """The failed requests; somebody may have forced them in the store meanwhile."""
        found = self.commits(lambda db: rows.unfinished(db, "failed", MOST_FAILED)).result()
        return [waiting.request() for waiting in found]

    def summary(self) -> "Future[tuple[dict[str, int], str | None, int]]":
        """Number of requests of each state, the arrival of the oldest unfinished one, and the waiting callbacks."""

        def work(db):
            counts = dict(map(tuple, db.execute("SELECT state, COUNT(*) FROM requests GROUP BY state")))
            firsts = [
                db.execute("SELECT received_at FROM requests WHERE state = ? ORDER BY position LIMIT 1", (state,))
                for state in ("in_progress", "pending")
            ]
            oldest = min((row[0] for first in firsts for row in first), default=None)
            return {**dict.fromkeys(STATES, 0), **counts}, oldest, outbox.waiting(db)

        return self.commits(work)
