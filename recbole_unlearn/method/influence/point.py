"""All that a backbone trains, as one table: influence methods and their solvers move its rows alike."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from recbole_unlearn.model.base import UnlearnableRecommender


def packed(ego: torch.Tensor, weights: Iterable[torch.Tensor]) -> torch.Tensor:
    """A table with weights besides it in further rows, the last one filled up with zeros; differentiable.

    Args:
        ego: 0-layer table, shape ``(N, d)``.
        weights: of any shapes, P numbers together; without them the point is the table.

    Returns:
        The point, shape ``(N + ceil(P / d), d)``.
    """
    flat = [weight.flatten() for weight in weights]
    if not flat:
        return ego
    numbers, width = torch.cat(flat), ego.shape[1]
    return torch.cat([ego, F.pad(numbers, (0, -len(numbers) % width)).view(-1, width)])


def unpacked(point: torch.Tensor, model: UnlearnableRecommender) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The inverse of :func:`packed`: a table and the weights by the names of ``model.named_weights()``."""
    weights, n_nodes = model.named_weights(), model.n_users + model.n_items
    sizes = [weight.numel() for weight in weights.values()]
    parts = point[n_nodes:].flatten()[: sum(sizes)].split(sizes) if sizes else []
    return point[:n_nodes], {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts)}


def called_at(
    point: torch.Tensor, model: UnlearnableRecommender, function: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """``function(ego)`` while the model has a point's weights, differentiable in the point.

    Args:
        point: see :func:`packed`.
        model: whose ``forward`` or parts of the loss the function calls; afterwards it has its own weights again.
        function: takes the point's table, shape ``(N, d)``.
    """
    ego, weights = unpacked(point, model)
    if not weights:
        return function(ego)
    return functional_call(
        _Calls(model), {f"model.{name}": weight for name, weight in weights.items()}, (function, ego)
    )


class _Calls(nn.Module):
    """Calls a function of a model: ``functional_call`` gives other weights to a module's forward only."""

    def __init__(self, model: UnlearnableRecommender) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[torch.Tensor], torch.Tensor], ego: torch.Tensor) -> torch.Tensor:
        return function(ego)
