"""The process that applies requests: it keeps the model, so that a revision never holds up an answer.

Its own logging is off, because a line of it may have a request id, and an id may name somebody. The service logs what
an outcome says.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.errors import FailedChecks, UsageError

WAIT_SECONDS = 60.0  # for another process that holds the store
NICE = 5  # the answers come first


@dataclass(frozen=True)
class Outcome:
    """What became of a call.

    Args:
        problem: what failed, in words that name nobody; None if nothing did.
        states: request id to its status in the store, of those that the store knows.
        version: number of the current version, and whether it should be trained anew.
        seconds: of the call.
    """

    problem: str | None
    states: dict[str, str] = field(default_factory=dict)
    version: int = 0
    retraining_due: bool = False
    seconds: float = 0.0


class Applier:
    """A process of its own that applies requests to a store, one call at a time.

    Args:
        checkpoint: of the store.
        settings: to change, as in :class:`~recbole_unlearn.deletion.service.Deletion`.
    """

    def __init__(self, checkpoint: str, settings: dict[str, Any]) -> None:
        self._arguments = checkpoint, settings
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.is_alive()

    def apply(self, requests: Sequence[DeletionRequest], known: Sequence[DeletionRequest] = ()) -> Outcome:
        """Apply requests in the process, which is started if it does not run.

        Args:
            requests: to apply; with none, the call finishes what an earlier one has left.
            known: requests to look up only.

        Returns:
            The outcome; its problem says so if the process has died.
        """
        try:
            if not self.alive:
                self._start()
            assert self._connection is not None
            self._connection.send((list(requests), list(known)))
            return self._connection.recv()
        except (EOFError, OSError):
            self.close(kill=True)
            return Outcome("the worker's process has died")

    def close(self, kill: bool = False) -> None:
        """End the process: after the call that it is in, or at once."""
        if self._process is None or self._connection is None:
            return
        if kill:
            self._process.kill()
        self._connection.close()
        self._process.join()

    def kill(self) -> None:
        """End the process at once, from another thread: the call that it is in ends with a problem."""
        if self._process is not None:
            self._process.kill()

    def _start(self):
        context = multiprocessing.get_context("spawn")  # this process has threads
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments), name="worker", daemon=True)
        self._process.start()
        theirs.close()  # so that either end notices the other's death


def _serve(connection, checkpoint, settings):
    for number in (signal.SIGINT, signal.SIGTERM):  # of the whole group of processes: the service decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    logging.disable()
    from recbole_unlearn.deletion.service import Deletion  # here, because the service's own process does without it

    if hasattr(os, "nice"):
        os.nice(NICE)
    deletion = Deletion(checkpoint, settings)
    with suppress(EOFError, OSError):  # the service has ended
        while True:
            requests, known = connection.recv()
            connection.send(_outcome(deletion, requests, known))


def _end_with_the_service():
    """End at once if the service is killed, so that the next one need not wait for the store."""
    service = multiprocessing.parent_process()
    assert service is not None
    service.join()
    os._exit(1)


def _outcome(deletion, requests, known):
    from recbole_unlearn.deletion.store import Store
    from recbole_unlearn.deletion.store.layout import store_folder

    problem, start = None, time.perf_counter()
    try:
        deletion.unlearn(requests, wait_seconds=WAIT_SECONDS)
    except Exception as error:
        problem = _in_words(error, [request.request_id for request in requests])
    try:
        store = Store(store_folder(deletion.checkpoint))
        current = store.current()
        states, due = store.states([*requests, *known]), current.details["drift"]["recommend_retraining"]
    except UsageError as error:
        return Outcome(problem or _in_words(error, []))
    return Outcome(problem, states, current.number, due, time.perf_counter() - start)


def _in_words(error, ids):
    """What an error says if it is for the user and has no request's id, else its kind."""
    kind = type(error).__name__
    if isinstance(error, FailedChecks):
        return f"{kind}: {'; '.join(error.checks)}"
    if isinstance(error, UsageError) and not any(each in str(error) for each in ids):
        return f"{kind}: {error}"
    return kind
