"""The thread that hands requests from the inbox to the applier, in batches, and notes what became of them."""

import threading
import time
from logging import getLogger

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.server.applier import Applier, Outcome
from recbole_unlearn.server.inbox import Inbox
from recbole_unlearn.server.metrics import Metrics

IDLE_SECONDS = 3600.0  # between two calls without requests, which remove versions whose quarantine is over
LONGEST_SECONDS = 60.0  # between two attempts
MOST_DEATHS = 3  # of the process over one request alone
OTHER = "its id is known to the store with other rows"


class Worker:
    """Applies the inbox's requests until it is stopped.

    A batch that fails is tried again by halves, so that one bad request fails alone. What the disk or another process
    refuses is tried again after a while, for ever.

    Args:
        inbox: of the store.
        applier: of the same store.
        metrics: to count in.
        most: requests of a batch.
    """

    def __init__(self, inbox: Inbox, applier: Applier, metrics: Metrics, most: int) -> None:
        self._inbox, self._applier, self._metrics = inbox, applier, metrics
        self._most = self._size = most
        self._failures = self._deaths = 0
        self._applying = False
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread and its process run."""
        return self._thread.is_alive() and self._applier.alive

    def wake(self) -> None:
        """Say that there are new requests."""
        self._woken.set()

    def stop(self, seconds: float) -> bool:
        """Finish the batch, or after some seconds leave it to the next service.

        Returns:
            Whether nothing is left half done.
        """
        self._stopping.set()
        self._woken.set()
        self._thread.join(seconds if self._applying else 0.1)
        finished = not (self._thread.is_alive() and self._applying)
        self._applier.kill()  # nobody waits for a model that is being loaded
        self._thread.join()
        self._applier.close()
        return finished

    def _run(self):
        requests: list[DeletionRequest] = []  # at first none, which loads the model
        while not self._stopping.is_set():
            try:
                self._apply(requests)
                requests = self._next()
            except Exception as error:  # the inbox's disk, or a bug
                getLogger().error(f"The worker's round failed: {type(error).__name__}")
                self._pause()

    def _next(self) -> list[DeletionRequest]:
        """The next requests; none if it is time to tidy up, or to stop."""
        deadline = time.monotonic() + IDLE_SECONDS
        while not self._stopping.is_set() and time.monotonic() < deadline:
            self._woken.clear()
            if requests := self._inbox.take(self._size):
                return requests
            self._woken.wait(deadline - time.monotonic())
        return []

    def _apply(self, requests: list[DeletionRequest]) -> None:
        self._applying = bool(requests)
        failed = self._inbox.failed()
        outcome = self._applier.apply(requests, failed)
        if self._stopping.is_set() and not self._applier.alive:
            return  # the next service goes on
        states = outcome.states
        done = [each.request_id for each in (*requests, *failed) if states.get(each.request_id) == "done"]
        unfit = {each.request_id: OTHER for each in requests if states.get(each.request_id) == "other"}
        if len(requests) == 1:
            unfit |= self._unfit_alone(requests[0].request_id, outcome)
        self._inbox.settle(done, unfit).result()
        self._applying = False
        self._note(outcome, requests)
        if outcome.problem is None:
            self._size, self._failures = self._most, 0
        else:
            self._size = max(1, len(requests) // 2)
        if requests and not (done or unfit or "failed" in states.values()):  # a smaller batch would not help
            self._pause()

    def _unfit_alone(self, request_id: str, outcome: Outcome) -> dict[str, str]:
        """The request of a batch of one, with the reason, if it is to be left to whoever runs the service."""
        problem = outcome.problem or ""
        self._deaths = self._deaths + 1 if problem and not self._applier.alive else 0
        is_unfit = outcome.states.get(request_id) == "failed" or self._deaths == MOST_DEATHS
        return {request_id: problem} if problem and is_unfit else {}

    def _note(self, outcome: Outcome, requests: list[DeletionRequest]) -> None:
        done = sum(outcome.states.get(each.request_id) == "done" for each in requests)
        self._metrics.applied(outcome, len(requests), done)
        if outcome.problem:
            getLogger().error(f"{done} of {len(requests)} requests done; {outcome.problem}")
        elif requests:
            getLogger().info(f"{done} requests done in {outcome.seconds:.1f} s; version {outcome.version} is current")

    def _pause(self) -> None:
        """Wait before the next attempt, twice as long each time."""
        seconds = min(2.0**self._failures, LONGEST_SECONDS)
        self._failures += 1
        getLogger().warning(f"Next attempt in {seconds:g} s")
        self._stopping.wait(seconds)
