"""How far a run is."""

from collections.abc import Mapping, Sequence
from time import perf_counter


class Progress:
    """Says which of several methods begins, and about how long those that are left take.

    Args:
        methods: the names of those to run, in their order.
        known: seconds that some of them will take, as far as something is known: Retrain repeats the original's
            training, once and again for each run of the floor.
    """

    def __init__(self, methods: Sequence[str], known: Mapping[str, float] | None = None) -> None:
        self.methods, self.known, self.started = methods, dict(known or {}), list[float]()

    def begin(self, method: str) -> str:
        """What to say as a method begins, e.g. ``method 3 of 9, about 4 min left``.

        A method left takes what is known of it, or else the mean time of the others that this run has finished. Before
        there is any, the sum of what is known is a lower bound, and the text says so.
        """
        self.started.append(perf_counter())
        place = self.methods.index(method)
        text = f"method {place + 1} of {len(self.methods)}"
        took = [end - start for start, end in zip(self.started, self.started[1:])]
        others = [seconds for name, seconds in zip(self.methods, took) if name not in self.known]
        left = self.methods[place:]
        unknown = [name for name in left if name not in self.known]
        seconds = sum(self.known[name] for name in left if name in self.known)
        if unknown and not others:
            return f"{text}, at least {_duration(seconds)} left" if seconds else text
        seconds += len(unknown) * sum(others) / max(len(others), 1)
        return f"{text}, about {_duration(seconds)} left"


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
