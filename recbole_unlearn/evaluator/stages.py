"""The cost of a method's stages."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from recbole_unlearn.cost import Cost, measured
from recbole_unlearn.errors import NoResult
from recbole_unlearn.method.base import Stage, Unlearner
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.model.recommender import Recommender


def costed_stages(method: Unlearner, device: torch.device) -> Iterator[tuple[Stage, Cost]]:
    """Run a method's online work, measuring each stage.

    The work begins with the request and ends with final embeddings: the remaining graph is part of it.

    Args:
        method: prepared.
        device: where it works.

    Yields:
        Each stage and its cost; a stage's seconds include those of the stages that it continues. Its details say which
        weights are not unlearned (:func:`not_unlearned`).

    Raises:
        NoResult: the method yields no stages of models.
    """
    name, stages, seconds = type(method).__name__, method.unlearn(), 0.0
    if not isinstance(stages, Iterator):
        raise NoResult(f"{name}.unlearn must yield its stages, `yield Stage(...)`, not return {type(stages).__name__}.")
    while True:
        with measured(device) as cost:
            stage = next(stages, None)
            if stage is not None and not hasattr(getattr(stage, "model", None), "full_sort_predict"):
                raise NoResult(f"{name}.unlearn must yield Stage(name, model) with a model, not {stage!r:.60}.")
            if stage and isinstance(stage.model, Recommender):
                stage.model.make_ready()  # from here on it can be served
        if stage is None:
            return
        seconds = cost.seconds + stage.seconds_before + (seconds if stage.continues else 0.0)
        kept = not_unlearned(stage.model, method.before())
        if kept:
            stage = replace(stage, details={**stage.details, "not unlearned": ", ".join(kept)})
        yield stage, Cost(seconds, stage.peak_memory_mb or cost.peak_memory_mb)


def not_unlearned(model: torch.nn.Module, before: torch.nn.Module) -> list[str]:
    """The weights besides the table that a model still has as they were before the request.

    They were trained on what is forgotten. No method needs to say so: equal numbers do.

    Args:
        model: a method's result.
        before: the method's model before the request.

    Returns:
        The parts that ``weights_beyond_table`` names, or single weights of a part that was revised otherwise.
    """
    if not isinstance(model, UnlearnableRecommender) or not isinstance(before, UnlearnableRecommender):
        return []
    weights, old = model.named_weights(), before.named_weights()
    kept = [name for name, weight in weights.items() if name in old and torch.equal(weight, old[name])]
    names = []
    for part in model.weights_beyond_table:
        of_part = [name for name in weights if f"{name}.".startswith(f"{part}.")]
        same = [name for name in of_part if name in kept]
        names += [part] if same == of_part else same
    return names


def measured_elsewhere(**seconds: float) -> dict[str, str]:
    """A row's detail on the part of its seconds that another process measured, whose training was loaded.

    Args:
        **seconds: of others, e.g. ``offline=12.0, online=0.0``.
    """
    parts = [f"{value:.2f} s {name}" for name, value in seconds.items() if value]
    return {"from an earlier run or another process": ", ".join(parts)} if parts else {}
