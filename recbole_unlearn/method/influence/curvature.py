"""Gradient and Hessian-vector products of a network's training loss in all of its weights."""

import torch

from recbole_unlearn.model.network import NetworkRecommender


class Curvature:
    """The loss of examples at a network's own weights, on its own graph, without what is random in training.

    All weights are one vector of P numbers.

    Args:
        model: in evaluation mode.
        count: divides the sum of the losses.
    """

    def __init__(self, model: NetworkRecommender, count: int) -> None:
        self.model, self.count, self.weights = model, count, list(model.weights().values())

    def gradient(self, examples: torch.Tensor) -> torch.Tensor:
        """The gradient of the loss of some examples, shape ``(P,)``."""
        total = self._flat(torch.zeros_like(weight) for weight in self.weights)
        for some in examples.split(self.model.examples_at_a_time):
            total += self._flat(self._gradient(some))
        return total

    def product(self, examples: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """``H x`` of the loss of some examples, for ``x`` of shape ``(P,)``."""
        parts, total = self._shaped(x), torch.zeros_like(x)
        for some in examples.split(self.model.examples_at_a_time):
            gradient = self._gradient(some, create_graph=True)
            along = torch.autograd.grad(gradient, self.weights, parts, allow_unused=True, materialize_grads=True)
            total += self._flat(along)
        return total

    def moved(self, change: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weights plus a change of shape ``(P,)``, by name."""
        names, parts = self.model.weights(), self._shaped(change)
        return {name: weight.detach() + part for (name, weight), part in zip(names.items(), parts)}

    def _gradient(self, examples, create_graph=False):
        loss = self.model.losses(self.model.batch(examples)).sum() / self.count
        return torch.autograd.grad(
            loss, self.weights, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )

    def _flat(self, parts):
        return torch.cat([part.detach().flatten() for part in parts])

    def _shaped(self, vector):
        parts = vector.split([weight.numel() for weight in self.weights])
        return [part.view_as(weight) for part, weight in zip(parts, self.weights)]
