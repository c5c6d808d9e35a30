"""Aggregation of the embeddings of several shards' models into one model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from scipy.optimize import minimize
from scipy.special import expit
from torch import nn

from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender


def weighted_concatenation(tables: list[torch.Tensor], weights: Sequence[float] | np.ndarray) -> torch.Tensor:
    """One table whose dot products are the weighted sums of the shards': ``sum_k w_k z_u^k . z_i^k``.

    Args:
        tables: final embeddings of each shard's model, shape ``(N, d)`` each.
        weights: K of them, >= 0.

    Returns:
        Shape ``(N, K d)``.
    """
    return torch.cat([table * float(weight) ** 0.5 for table, weight in zip(tables, weights)], dim=1)


def learned_weights(differences: np.ndarray, penalty: float) -> np.ndarray:
    """LBAggr's importance of each shard: minimises mean ``softplus(-D w) + penalty |w|`` over ``w >= 0``.

    A convex problem in K unknowns, solved by L-BFGS-B from equal weights.

    Args:
        differences: score of the positive item minus that of the negative one, in each shard's model, shape
            ``(n_triples, K)``.
        penalty: weight of the Euclidean norm.

    Returns:
        Shape ``(K,)``; equal weights if there are no triples.
    """
    d = np.asarray(differences, dtype=np.float64)
    n_triples, n_shards = d.shape
    start = np.full(n_shards, 1 / n_shards)
    if n_triples == 0:
        return start

    def objective(w):
        margins, norm = d @ w, np.linalg.norm(w)
        value = np.logaddexp(0, -margins).mean() + penalty * norm
        return value, -(expit(-margins) @ d) / n_triples + penalty * w / max(norm, 1e-12)

    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * n_shards).x


def table_model(config: Any, dataset: Dataset, table: torch.Tensor, graph: Graph) -> UnlearnableRecommender:
    """A recommender that scores by the dot products of a fixed table: RecBole's BPR model with these embeddings.

    Args:
        config (Config): settings of the run.
        dataset: built.
        table: shape ``(N, D)``.
        graph: the interactions behind the table.
    """
    model = MODELS["BPR"](config.replace(embedding_size=table.shape[1]), dataset).to(config["device"])
    return model.revised(table, graph)


class AttentionAggregator(UnlearnableRecommender, GeneralRecommender):
    r"""RecEraser's attention over K shards' tables, trained by BPR through the backbone's propagation.

    :math:`x_k` is a node's row in shard k; users and items have separate parameters:

    .. math::
        x_k' = W_k x_k + b_k, \quad \alpha = \mathrm{softmax}_k\, h^T \mathrm{ReLU}(W x_k' + b), \quad
        e_0 = \sum_k \alpha_k x_k'

    A node's softmax leaves out the shards in which the node has no edge. A step costs the number of pairs of a shard
    and a node with edges in it, not K N. A node without any edge has a row of zeros.

    Args:
        config (Config): settings.
        dataset: built.
        backbone: propagates the result by its ``forward``.
        tables: 0-layer tables, shape ``(K, N, d)``; not trained.
        present: whether a node has edges in a shard, boolean, shape ``(K, N)``.
        graph: all shards' edges, for the propagation.
    """

    input_type = InputType.PAIRWISE

    def __init__(
        self,
        config: Any,
        dataset: Dataset,
        backbone: UnlearnableRecommender,
        tables: torch.Tensor,
        present: torch.Tensor,
        graph: Graph,
    ) -> None:
        super().__init__(config, dataset)
        self.backbone_forward = backbone.forward
        sizes, device = [self.n_users, self.n_items], config["device"]
        self.sides = nn.ModuleList(
            _Attention(*side) for side in zip(tables.split(sizes, dim=1), present.split(sizes, dim=1))
        )
        self.to(device)
        self.set_graph(graph)

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return self.backbone_forward(ego, adjacency)

    def ego_embeddings(self) -> torch.Tensor:
        """``e_0`` of all nodes, shape ``(N, d)``."""
        return torch.cat([attention() for attention in self.sides])


class _Attention(nn.Module):
    """The attention of one side, users or items.

    Args:
        tables: shape ``(K, n, d)``; the result has shape ``(n, d)``.
        present: boolean, shape ``(K, n)``.
    """

    node: torch.Tensor
    rows: torch.Tensor

    def __init__(self, tables: torch.Tensor, present: torch.Tensor) -> None:
        super().__init__()
        n_shards, self.n_nodes, dimension = tables.shape
        self.weight = nn.Parameter(torch.eye(dimension).repeat(n_shards, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_shards, 1, dimension))
        self.hidden = nn.Linear(dimension, dimension // 2)
        self.score = nn.Linear(dimension // 2, 1, bias=False)
        self.per_shard = present.sum(dim=1).tolist()
        shard, node = torch.nonzero(present, as_tuple=True)  # shard by shard
        self.register_buffer("node", node, persistent=False)
        self.register_buffer(
            "rows", tables[shard, node], persistent=False
        )  # shape (M, d), M pairs of a shard and a node

    def forward(self):
        parts = zip(self.rows.split(self.per_shard), self.weight, self.bias)
        transformed = torch.cat([torch.addmm(bias, rows, weight) for rows, weight, bias in parts])
        logits = self.score(torch.relu(self.hidden(transformed))).squeeze(1)
        highest = logits.new_full((self.n_nodes,), -torch.inf).scatter_reduce(0, self.node, logits.detach(), "amax")
        share = torch.exp(logits - highest[self.node])
        share = share / logits.new_zeros(self.n_nodes).index_add(0, self.node, share)[self.node]
        return transformed.new_zeros(self.n_nodes, self.rows.shape[1]).index_add(
            0, self.node, share[:, None] * transformed
        )
