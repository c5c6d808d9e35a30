"""How a model's final embeddings respond to its table: what the calibrated encoder knows of a readout."""

import torch

from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.propagation import multiply

N_PROBES = 256  # random signs for each side


@torch.no_grad()
def own_map(model: UnlearnableRecommender, generator: torch.Generator) -> torch.Tensor | None:
    r"""How a node's own row shows in its final embedding: the mean M over nodes of :math:`\partial Z_v / \partial E_v`.

    A change :math:`\delta` of a row then changes the score with an embedding z by about :math:`\delta^\top M^\top z`.
    ``None`` stands for the identity, up to a factor for each node: a readout that treats columns alike.

    Args:
        model: on its training graph.
        generator: draws signs S of the table's shape; the mean of :math:`(dZ)_v S_v^\top` over nodes and draws is M.

    Returns:
        Shape ``(D, d)`` for a table of width d and final embeddings of width D.
    """
    ego, final = model.ego_embeddings(), model.final_embeddings()
    if ego.shape == final.shape and not model.weights_beyond_table:
        return None
    total = ego.new_zeros(final.shape[1], ego.shape[1])
    for signs, answer in _answers(model, generator):
        total += answer.t() @ signs
    return total / (_rounds(ego) * len(ego))


@torch.no_grad()
def readout_response(
    model: UnlearnableRecommender, generator: torch.Generator, own: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The diagonals of R and of ``R^T R`` for a symmetric readout ``Z = R E``: how final embeddings respond to a row.

    The estimate changes the table by random signs (Hutchinson, 1990) and looks at what the model's ``forward`` makes of
    it; R of one that is not linear is its derivative at the table. It does so for users and items apart: the part of R
    that links the two sides, most of SimGCL's readout, would only add noise.

    Args:
        model: on its training graph.
        generator: draws the signs.
        own: see :func:`own_map`; ``Z = R E M^T`` then, and R is what lies in the directions of M.

    Returns:
        ``row_response`` and ``spread_cost``, shape ``(N,)`` each.
    """
    ego = model.ego_embeddings()
    row_response, spread_cost = (torch.zeros(len(ego), device=ego.device) for _ in range(2))
    for signs, answer in _answers(model, generator):
        if own is not None:
            answer = answer @ own * (ego.shape[1] / own.square().sum())
        row_response += (signs * answer).mean(dim=1) / _rounds(ego)
        spread_cost += answer.square().mean(dim=1) / _rounds(ego)
    return row_response.clamp(min=0), spread_cost  # the true diagonal is positive; a noisy estimate of it may not be


@torch.no_grad()
def layers_response(
    weights: list[float], adjacency: torch.Tensor, width: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""The same of a readout :math:`\sum_l w_l A^l E`, from the same signs, in half of the products.

    Even powers of A stay on a side and odd ones change it, so that the signs of users and of items go together.

    Args:
        weights: of the layers.
        adjacency: sparse CSR, shape ``(N, N)``.
        width: of the table.
        generator: see :func:`readout_response`.
    """
    rounds, n_nodes = -(-N_PROBES // width), len(adjacency)
    row_response, spread_cost = (torch.zeros(n_nodes, device=adjacency.device) for _ in range(2))
    for _ in range(rounds):
        signs = layer = _signs((n_nodes, width), generator).to(adjacency)
        parts = [weights[0] * signs, torch.zeros_like(signs)]  # of the node's own side, and of the other
        for number, weight in enumerate(weights[1:], start=1):
            layer = multiply(adjacency, layer)
            parts[number % 2].add_(layer, alpha=weight)
        row_response += (signs * parts[0]).mean(dim=1) / rounds
        spread_cost += sum(part.square_().mean(dim=1) for part in parts) / rounds
    return row_response.clamp(min=0), spread_cost


def _signs(shape, generator):
    return torch.randint(0, 2, shape, generator=generator, dtype=torch.int8).mul_(2).sub_(1)


def _answers(model, generator):
    """Signs in one side's rows, zeros in the other's, and how the final embeddings change; two for each draw."""
    ego, linear = model.ego_embeddings(), model.is_linear()

    def readout(table):
        return model.forward(table, model.adjacency)

    for _ in range(_rounds(ego)):
        signs = _signs(ego.shape, generator)
        for other_side in (slice(model.n_users, None), slice(None, model.n_users)):
            some = signs.to(ego)
            some[other_side] = 0
            yield some, readout(some) if linear else torch.autograd.functional.jvp(readout, ego, some)[1]


def _rounds(ego):
    return -(-N_PROBES // ego.shape[1])
