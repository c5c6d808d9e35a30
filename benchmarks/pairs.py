"""How two that were timed in turns compare."""

from collections.abc import Sequence

import numpy as np


def times_faster(pairs: Sequence[Sequence[float]], first: str, second: str) -> str:
    """The median seconds of both, and the median and quartiles of the pairs' ratios, in words.

    Args:
        pairs: seconds of the first and of the second, shape ``(n, 2)``.
        first, second: their names.
    """
    seconds = np.asarray(pairs)
    medians = np.median(seconds, axis=0)
    low, middle, high = np.quantile(seconds[:, 0] / seconds[:, 1], [0.25, 0.5, 0.75])
    return (
        f"{first} {medians[0]:.3f} s, {second} {medians[1]:.3f} s; {middle:.2f} times faster "
        f"(quartiles {low:.2f} to {high:.2f})"
    )
