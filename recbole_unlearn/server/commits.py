"""One thread that writes to a database of SQLite, and makes the changes of many callers durable with one commit."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
MOST_AT_ONCE = 1000  # jobs of one commit


@dataclass
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    erases: bool
    future: Future = field(default_factory=Future)


class GroupCommit:
    """Runs jobs on one connection, in turn. Those that wait together share a transaction.

    A caller's future ends when its changes are on the disk: one write to the disk serves all jobs that came during the
    one before.

    Args:
        connect: opens the connection, in autocommit mode and WAL; called in the thread that uses it.

    Raises:
        sqlite3.Error: the database cannot be opened.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connect, self._opened = connect, Future[None]()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()
        self._opened.result()

    def __call__(self, work: Callable[[sqlite3.Connection], T], erases: bool = False) -> "Future[T]":
        """Queue a job.

        Args:
            work: takes the connection, within a transaction. If it raises, its own changes alone are undone.
            erases: whether the file of the log must not keep what the job deletes.

        Returns:
            What ``work`` returns or raises, once it is durable. It raises sqlite3.Error if the disk refuses.
        """
        job = _Job(work, erases)
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Finish the queued jobs and close the database. Later jobs are never done."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self):
        try:
            db = self._connect()
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        with closing(db):
            ended = False
            while not ended:
                jobs = [self._jobs.get(), *self._waiting()]
                ended = None in jobs
                wanted = [job for job in jobs if job and job.future.set_running_or_notify_cancel()]
                if wanted:
                    _commit(db, wanted)

    def _waiting(self) -> Iterator[_Job | None]:
        for _ in range(MOST_AT_ONCE - 1):
            try:
                yield self._jobs.get_nowait()
            except queue.Empty:
                return


def _commit(db, jobs):
    try:
        db.execute("BEGIN IMMEDIATE")
        outcomes = [_attempt(db, job.work) for job in jobs]
        db.execute("COMMIT")
        if any(job.erases for job in jobs):
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log still has the pages as they were
    except BaseException as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        for job in jobs:
            job.future.set_exception(error)
        return
    for job, (value, raised) in zip(jobs, outcomes):
        if raised:
            job.future.set_exception(raised)
        else:
            job.future.set_result(value)


def _attempt(db: sqlite3.Connection, work: Callable) -> tuple[Any, Exception | None]:
    """The value of a job and None, or None and its error; an error of the disk, which ends the transaction, passes."""
    db.execute("SAVEPOINT job")
    outcome: tuple[Any, Exception | None]
    try:
        outcome = work(db), None
    except Exception as error:
        outcome = None, error
        db.execute("ROLLBACK TO job")
    db.execute("RELEASE job")
    return outcome
