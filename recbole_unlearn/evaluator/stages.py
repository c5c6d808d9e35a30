"""The cost of a method's stages."""

from collections.abc import Iterator

import torch

from recbole_unlearn.cost import Cost, measured
from recbole_unlearn.method.base import Stage, Unlearner
from recbole_unlearn.model.recommender import Recommender


def costed_stages(method: Unlearner, device: torch.device) -> Iterator[tuple[Stage, Cost]]:
    """Run a method's online work, measuring each stage.

    The work begins with the request and ends with final embeddings: the remaining graph is part of it.

    Args:
        method: prepared.
        device: where it works.

    Yields:
        Each stage and its cost; a stage's seconds include those of the stages that it continues.
    """
    stages, seconds = method.unlearn(), 0.0
    while True:
        with measured(device) as cost:
            stage = next(stages, None)
            if stage and isinstance(stage.model, Recommender):
                stage.model.make_ready()  # from here on it can be served
        if stage is None:
            return
        seconds = cost.seconds + stage.seconds_before + (seconds if stage.continues else 0.0)
        yield stage, Cost(seconds, stage.peak_memory_mb or cost.peak_memory_mb)


def measured_elsewhere(**seconds: float) -> dict[str, str]:
    """A row's detail on the part of its seconds that another process measured, whose training was loaded.

    Args:
        **seconds: of others, e.g. ``offline=12.0, online=0.0``.
    """
    parts = [f"{value:.2f} s {name}" for name, value in seconds.items() if value]
    return {"from an earlier run or another process": ", ".join(parts)} if parts else {}
