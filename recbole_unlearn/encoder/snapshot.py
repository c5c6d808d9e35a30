"""What a preparation keeps of a model, so that a request costs what it touches and not what the graph holds."""

from dataclasses import dataclass

import torch

from recbole_unlearn.encoder.least_change import Moments
from recbole_unlearn.encoder.spectrum import Basis
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
        basis: of the graph's spectrum.
        seen: what the basis reaches of users times the table of users, and the same of items, shape ``(K, d)`` each.
        moments: of its final embeddings.
    """

    graph: Graph
    layers: list[torch.Tensor]
    weights: list[float]
    basis: Basis
    seen: list[torch.Tensor]
    moments: Moments

    @classmethod
    @torch.no_grad()
    def of(cls, model: UnlearnableRecommender) -> "Snapshot":
        """Look at a model on its training graph."""
        graph, ego, final = model.graph, model.ego_embeddings(), model.final_embeddings()
        weights, layers = layer_weights(ego, final, graph.adjacency)
        basis = Basis.of(graph)
        sides = ego.to(basis.users).split([graph.n_users, graph.n_items])
        seen = [reached.t() @ side for reached, side in zip((basis.reached_users, basis.reached_items), sides)]
        return cls(graph, layers, weights, basis, seen, Moments.of(final, graph.degrees(), graph.n_users))


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
