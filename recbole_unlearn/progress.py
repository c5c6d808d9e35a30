"""How far a run is, and about how long the rest takes."""

from collections.abc import Mapping, Sequence
from time import perf_counter


class Progress:
    """The steps of a run, one of which is running, and estimates of the others.

    Args:
        steps: names, in their order.
        known: seconds that some of them will take, as far as something is known: Retrain repeats the original's
            training, once and again for each run of the floor; a step that an earlier run has done takes none.
    """

    def __init__(self, steps: Sequence[str], known: Mapping[str, float] | None = None) -> None:
        self.steps, self.known = list(steps), dict(known or {})
        self._begun: dict[str, float] = {}  # moments

    def begin(self, step: str) -> str:
        """Begin a step; says e.g. ``step 3 of 9, about 4 min left``."""
        self._begun[step] = perf_counter()
        return ", ".join(filter(None, (self.place(), self.left(0.0))))

    def place(self) -> str:
        """Which step runs, e.g. ``step 3 of 9``."""
        return f"step {self.steps.index(self._now) + 1} of {len(self.steps)}"

    def left(self, elapsed: float | None = None) -> str:
        """How long the rest takes, e.g. ``about 4 min left``; empty if nothing is known.

        A step takes what is known of it, or else the mean time of the others that this run has finished. Before there
        is any, the sum of what is known is a lower bound, and the text says so.

        Args:
            elapsed: seconds since the present step began; None looks at the clock.
        """
        moments = [*self._begun.items()]
        took = {step: end - start for (step, start), (_, end) in zip(moments, moments[1:])}
        others = [seconds for step, seconds in took.items() if step not in self.known]
        mean = sum(others) / len(others) if others else None
        left = self.steps[self.steps.index(self._now) :]
        estimates = {step: self.known.get(step, mean) for step in left}
        seconds = sum(estimate for estimate in estimates.values() if estimate is not None)
        if estimates[self._now] is not None:
            elapsed = perf_counter() - moments[-1][1] if elapsed is None else elapsed
            seconds -= min(elapsed, estimates[self._now] or 0.0)
        if None in estimates.values():
            return f"at least {duration(seconds)} left" if seconds else ""
        return f"about {duration(seconds)} left"

    @property
    def _now(self) -> str:
        return [*self._begun][-1]


def duration(seconds: float) -> str:
    """A time to read, in seconds or minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
