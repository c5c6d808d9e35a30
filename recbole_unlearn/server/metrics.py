"""What a service measures of itself, as Prometheus reads it. No label has a request's id or a token."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

if TYPE_CHECKING:
    from recbole_unlearn.server.applier import Outcome

PREFIX = "recbole_unlearn"
ANSWER_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
BATCH_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
METHODS = ("GET", "POST", "DELETE")
disable_created_metrics()  # a second series for each counter, which nobody reads


class Metrics:
    """Counters of one service, which start at zero with it, and gauges that are set when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._answers = self._made(Counter, "http_answers", "Answers by route and status.", labels)
        self._seconds = self._made(
            Histogram, "http_seconds", "Seconds from a request to its answer.", ("route",), buckets=ANSWER_SECONDS
        )
        self._batches = self._made(Counter, "batches", "Batches that the worker applied, by result.", ("result",))
        self._done = self._made(Counter, "applied_requests", "Requests that the worker completed.")
        self._batch_seconds = self._made(Histogram, "batch_seconds", "Seconds of a batch.", buckets=BATCH_SECONDS)
        self._calls = self._made(Counter, "callbacks", "Attempts of callbacks, by result.", ("result",))
        self._ignored = self._made(Counter, "ignored_identities", "Identities of another type than the users' tokens.")
        self._states = self._made(Gauge, "requests", "Requests of the inbox by state.", ("state",))
        self._oldest = self._made(Gauge, "oldest_pending_seconds", "Age of the oldest unfinished request, or 0.")
        self._waiting = self._made(Gauge, "callbacks_waiting", "Callbacks that are not delivered yet.")
        self._worker = self._made(Gauge, "worker_up", "Whether the worker runs.")
        self._version = self._made(Gauge, "store_version", "Number of the current version.")
        self._due = self._made(Gauge, "retraining_due", "Whether the store recommends to train anew.")

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count an answer; ``route`` is a path with names in place of values, None if there is no such path."""
        route = route or "none"
        self._answers.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def applied(self, outcome: "Outcome", n_requests: int, n_done: int) -> None:
        """Count a batch of the worker."""
        if n_requests:
            self._batches.labels("failed" if outcome.problem else "done").inc()
            self._batch_seconds.observe(outcome.seconds)
            self._done.inc(n_done)
        if outcome.version:
            self._version.set(outcome.version)
            self._due.set(outcome.retraining_due)

    def called(self, result: str) -> None:
        """Count an attempt of a callback: ``delivered``, ``missed`` or ``given up``."""
        self._calls.labels(result).inc()

    def ignored(self, number: int) -> None:
        """Count identities that name nobody in the model."""
        self._ignored.inc(number)

    def text(self, states: dict[str, int], oldest_seconds: float, n_calls: int, worker_up: bool) -> bytes:
        """All of it, in Prometheus' format."""
        for state, number in states.items():
            self._states.labels(state).set(number)
        self._oldest.set(oldest_seconds)
        self._waiting.set(n_calls)
        self._worker.set(worker_up)
        return generate_latest(self._registry)

    def _made(self, kind, name, meaning, labels=(), **options):
        return kind(f"{PREFIX}_{name}", meaning, labels, registry=self._registry, **options)
