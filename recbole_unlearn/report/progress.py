"""How far a run is."""

from collections.abc import Sequence
from time import perf_counter


class Progress:
    """Says which of several methods begins, and about how long those that are left take.

    Args:
        methods: their names, in the order in which they run.
    """

    def __init__(self, methods: Sequence[str]) -> None:
        self.methods, self.started = methods, list[float]()

    def begin(self, method: str) -> str:
        """What to say as a method begins, e.g. ``method 3 of 9, about 4 min left``.

        The mean time of the methods of this run so far is that of each method left, this one included.
        """
        self.started.append(perf_counter())
        place = self.methods.index(method)
        text = f"method {place + 1} of {len(self.methods)}"
        if len(self.started) == 1:
            return text
        each = (self.started[-1] - self.started[0]) / (len(self.started) - 1)
        left = each * (len(self.methods) - place)
        return f"{text}, about {left:.0f} s left" if left < 90 else f"{text}, about {left / 60:.0f} min left"
