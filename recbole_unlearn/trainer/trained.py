"""What a training, or a fit, leaves."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trained:
    """A trained or fitted model.

    Args:
        model (Recommender): in evaluation mode.
        seconds: duration of the training, over all runs that worked on it.
        seconds_before: the part that earlier runs spent before this one resumed, or that another process spent.
        peak_memory_mb: of the process that trained.
        file: the finished training's file; ``None`` if there was nothing to train on.
    """

    model: Any
    seconds: float
    seconds_before: float
    peak_memory_mb: float = 0.0
    file: str | None = None
