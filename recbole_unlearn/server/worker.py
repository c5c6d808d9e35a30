"""The thread that hands requests from the inbox to the applier, in batches, and notes what became of them."""

import threading
from logging import getLogger

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.server.applier import Applier, Outcome
from recbole_unlearn.server.inbox import Inbox
from recbole_unlearn.server.metrics import Metrics

IDLE_SECONDS = 3600.0  # between two calls without requests, which remove versions whose quarantine is over
LONGEST_SECONDS = 60.0  # between two attempts
MOST_DEATHS = 3  # of the process over one request alone
OTHER = "its id is known to the store with other rows"
UNFIT = {"failed", "other"}  # statuses in the store of a request that cannot be applied as it is


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
            Whether the batch was finished.
        """
        self._stopping.set()
        self._woken.set()
        self._thread.join(seconds)
        finished = not self._thread.is_alive()
        if not finished:
            self._applier.kill()
            self._thread.join()
        self._applier.close()
        return finished

    def _run(self):
        self._note(self._applier.apply([]), [])  # loads the model
        while not self._stopping.is_set():
            try:
                self._woken.clear()
                requests = self._inbox.take(self._size).result()
                if requests:
                    self._apply(requests)
                elif not self._woken.wait(IDLE_SECONDS):
                    self._note(self._applier.apply([]), [])
            except Exception as error:  # the inbox's disk, or a bug
                getLogger().error(f"The worker's round failed: {type(error).__name__}")
                self._pause()

    def _apply(self, requests: list[DeletionRequest]) -> None:
        failed = self._inbox.failed().result()
        outcome = self._applier.apply(requests, failed)
        if self._stopping.is_set() and not self._applier.alive:
            return  # the next service goes on
        alone, states = len(requests) == 1, outcome.states
        done = [each.request_id for each in (*requests, *failed) if states.get(each.request_id) == "done"]
        unfit = {each.request_id: OTHER for each in requests if states.get(each.request_id) == "other"}
        if outcome.problem and alone and states.get(requests[0].request_id) == "failed":
            unfit[requests[0].request_id] = outcome.problem
        self._deaths = self._deaths + 1 if alone and outcome.problem and not self._applier.alive else 0
        if self._deaths == MOST_DEATHS:
            unfit[requests[0].request_id] = outcome.problem or ""
        self._inbox.settle(done, unfit).result()
        self._note(outcome, requests)
        if outcome.problem is None:
            self._size, self._failures = self._most, 0
        else:
            self._size = max(1, len(requests) // 2)
            if not unfit and UNFIT.isdisjoint(states.get(each.request_id) for each in requests):
                self._pause()

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
