"""What a preparation keeps of a model, so that a request costs what it touches and not what the graph holds."""

from dataclasses import dataclass

import torch

from recbole_unlearn.encoder.least_change import Moments
from recbole_unlearn.encoder.spectrum import Spectrum, interactions
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.propagation import multiply

MOST_LAYERS = 4  # that a readout is tried for
ROWS = 2**13  # of layers that are multiplied at a time
EQUAL = 1e-5  # relative difference, up to which a readout is a sum of layers


@dataclass(frozen=True)
class Snapshot:
    """A model before a request.

    Args:
        graph: its training graph, on its device.
        layers: its table and the layers ``A E``, ``A^2 E``, ... that its readout adds up, the first two at least,
            shape ``(N, d)`` each.
        weights: of these layers, see :func:`layer_weights`; empty if its readout is another.
        spectrum: of the graph.
        reached: the interactions times the spectrum's vectors of items, shape ``(n_users, K)``.
        among: the interactions between the spectrum's vectors, shape ``(K, K)``; a diagonal if these are exact.
        seen: ``reached`` times the table of users, and the same of items, shape ``(K, d)`` each.
        moments: of its final embeddings.
    """

    graph: Graph
    layers: list[torch.Tensor]
    weights: list[float]
    spectrum: Spectrum
    reached: torch.Tensor
    among: torch.Tensor
    seen: list[torch.Tensor]
    moments: Moments

    @classmethod
    @torch.no_grad()
    def of(cls, model: UnlearnableRecommender) -> "Snapshot":
        """Look at a model on its training graph."""
        graph, ego, final = model.graph, model.ego_embeddings(), model.final_embeddings()
        weights, layers = layer_weights(ego, final, graph.adjacency)
        spectrum = Spectrum.of(graph)
        reached = multiply(interactions(graph)[0], spectrum.items)
        of_users, of_items = ego.to(reached).split([graph.n_users, graph.n_items])
        seen = [reached.t() @ of_users, (spectrum.items * spectrum.values).t() @ of_items]
        moments = Moments.of(final, graph.degrees(), graph.n_users)
        return cls(graph, layers, weights, spectrum, reached, spectrum.users.t() @ reached, seen, moments)

    def step_at(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """What the interactions make of the spectrum's vectors, at some users and items, shape ``(T, K)``."""
        of_items = self.spectrum.items.index_select(0, items) * self.spectrum.values
        return torch.cat([self.reached.index_select(0, users), of_items])


def layer_weights(
    ego: torch.Tensor, final: torch.Tensor, adjacency: torch.Tensor
) -> tuple[list[float], list[torch.Tensor]]:
    r"""The weights of a readout :math:`\sum_l w_l A^l E`, and its layers :math:`A^l E`, the first two at least.

    Least squares find them, by as few layers as leave nothing. There are none if the final embeddings are no such sum.

    Args:
        ego: 0-layer table, shape ``(N, d)``.
        final: final embeddings, shape ``(N, D)``.
        adjacency: shape ``(N, N)``.
    """
    layers = [ego, multiply(adjacency, ego.to(adjacency))]
    if ego.shape != final.shape or ego.dtype != adjacency.dtype:
        return [], layers
    for n_weights in range(1, MOST_LAYERS + 2):
        if n_weights > len(layers):
            layers.append(multiply(adjacency, layers[-1]))
        some = layers[:n_weights]
        products = torch.stack([torch.stack([_dot(one, other) for one in (*some, final)]) for other in some])
        weights = torch.linalg.lstsq(products[:, :-1], products[:, -1:], driver="gelsd").solution.squeeze(1).tolist()
        difference = final.clone()
        for weight, layer in zip(weights, some):
            difference.sub_(layer, alpha=weight)
        if difference.norm() <= EQUAL * final.norm():
            return weights, layers[: max(2, n_weights)]
    return [], layers[:2]


def _dot(one, other):
    """In float64: layers resemble each other, so that their products must be exact."""
    parts = zip(one.split(ROWS), other.split(ROWS))
    return torch.stack([torch.dot(left.double().flatten(), right.double().flatten()) for left, right in parts]).sum()
