"""DGCF (Wang et al., "Disentangled Graph Collaborative Filtering", SIGIR 2020)."""

from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.init import xavier_normal_initialization
from scipy.sparse import csr_matrix

from recbole_unlearn.columns import are_split
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.info_nce import unit_rows
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.model.lightgcn import LightGCN
from recbole_unlearn.settings import (
    Count,
    EmbeddingSize,
    Epochs,
    Layers,
    LearningRate,
    RegularizationWeight,
    Settings,
    SquaredNorm,
    Weight,
    setting,
)

LEAST_DEGREE = 1e-8  # as RecBole has it


class DGCFSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    n_factors: Count = setting(4, "The number of factors for disentanglement.", "Its paper.")
    n_iterations: Count = setting(2, "The number of iterations for each layer.", "Its paper.")
    n_layers: Layers = 1
    reg_weight: RegularizationWeight = 1e-3
    require_pow: SquaredNorm = False
    cor_weight: Weight = setting(0.01, "The correlation loss weight.", "Its paper.")
    learning_rate: LearningRate = 0.005
    epochs: Epochs = 60


class DirectedEdges:
    """The ``2E`` directed edges of an adjacency, for products whose values are functions of the table.

    Args:
        adjacency: sparse CSR, shape ``(N, N)``, of a symmetric pattern.
    """

    def __init__(self, adjacency: torch.Tensor) -> None:
        self.starts, self.columns, self.size = adjacency.crow_indices(), adjacency.col_indices(), adjacency.shape
        counts = (self.starts[1:] - self.starts[:-1]).long()
        self.heads = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        places = torch.arange(len(self.columns)).numpy()
        by_column = csr_matrix((places, self.columns.cpu().numpy(), self.starts.cpu().numpy()), shape=self.size).tocsc()
        self.reverse = torch.from_numpy(by_column.data).to(counts.device)  # place of (t, h) for each edge (h, t)

    def matrix(self, values: torch.Tensor) -> torch.Tensor:
        """The sparse matrix with these values, shape ``(2E,)``, at the edges."""
        return torch.sparse_csr_tensor(self.starts, self.columns, values, size=self.size)


class _Product(torch.autograd.Function):
    """``W x``, differentiable in the values of W and in x: the derivatives are made of it and :class:`_Dots` again."""

    @staticmethod
    def forward(ctx, edges, values, x):
        ctx.edges = edges
        ctx.save_for_backward(values, x)
        return edges.matrix(values) @ x

    @staticmethod
    def backward(ctx, gradient):
        values, x = ctx.saved_tensors
        gradient = gradient.contiguous()
        transposed = values.index_select(0, ctx.edges.reverse)
        return None, _Dots.apply(ctx.edges, gradient, x), _Product.apply(ctx.edges, transposed, gradient)


class _Dots(torch.autograd.Function):
    """``a_h . b_t`` of each edge (h, t), shape ``(2E,)``, for node tables a and b."""

    @staticmethod
    def forward(ctx, edges, a, b):
        ctx.edges = edges
        ctx.save_for_backward(a, b)
        places = edges.matrix(a.new_zeros(len(edges.columns)))
        return torch.sparse.sampled_addmm(places, a.contiguous(), b.t()).values()

    @staticmethod
    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        reverse = gradient.index_select(0, ctx.edges.reverse)
        return None, _Product.apply(ctx.edges, gradient, b), _Product.apply(ctx.edges, reverse, a)


@MODELS.register
class DGCF(LightGCN):
    r"""Propagation over one graph for each intent, whose edges are weighed by iterated routing.

    The table's columns are split among K intents. With scores :math:`S_k(h, t)`, at first 1, an iteration weighs an
    edge by :math:`p_k = \mathrm{softmax}_k S_k`, normalised by the square roots of the degrees
    :math:`\sum_t p_k(h, t)` of both ends, propagates, and adds :math:`\hat y_h \cdot \tanh \hat x_t` of the propagated
    and the former rows of unit length to the scores. The loss also has the distance correlation of
    neighbouring intents on a sample of nodes. RecBole's DGCF is the same model.

    Raises:
        UsageError: ``embedding_size`` is no multiple of ``n_factors``, or several processes train the model.
    """

    settings = DGCFSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.n_factors, self.n_iterations = config["n_factors"], config["n_iterations"]
        self.cor_weight, self.batch_size = config["cor_weight"], config["train_batch_size"]
        if config["embedding_size"] % self.n_factors:
            raise UsageError(
                f"Setting 'embedding_size' must be a multiple of `n_factors`: {config['embedding_size']} is none of "
                f"{self.n_factors}."
            )
        self.apply(xavier_normal_initialization)

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        if are_split():
            raise UsageError("DGCF cannot be trained by columns: its routing compares intents. Leave out --nproc.")
        with torch.autocast(ego.device.type, enabled=False):
            return self._routed(ego.to(adjacency.dtype), DirectedEdges(adjacency))

    def _routed(self, ego, edges):
        scores = ego.new_ones(len(edges.columns), self.n_factors)
        total, layer = ego, list(ego.chunk(self.n_factors, dim=1))
        for depth in range(self.n_layers):
            former = layer
            targets = [unit_rows(rows).tanh() for rows in former]
            for step in range(self.n_iterations):
                layer = [_Product.apply(edges, *pair) for pair in zip(self._weights(scores, edges), former)]
                if depth + 1 < self.n_layers or step + 1 < self.n_iterations:  # nobody asks for the last scores
                    dots = [_Dots.apply(edges, unit_rows(rows), target) for rows, target in zip(layer, targets)]
                    scores = scores + torch.stack(dots, dim=1)
            total = total + torch.cat(layer, dim=1)
        return total / (self.n_layers + 1)

    def _weights(self, scores, edges):
        """The normalised weights of the edges for each intent, shape ``(2E,)`` each."""
        shares = scores.softmax(dim=1)
        degrees = shares.new_zeros(edges.size[0], self.n_factors).index_add(0, edges.heads, shares)
        scale = degrees.clamp(min=LEAST_DEGREE).rsqrt()
        return (shares * scale[edges.heads] * scale[edges.columns]).unbind(dim=1)

    def draw_views(self, graph: Graph) -> list[Any]:
        """The graph, whose size decides how many nodes a batch's correlation is of."""
        return [graph]

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Any]
    ) -> torch.Tensor | float:
        """The mean distance correlation of neighbouring intents of some users and items, drawn for each batch."""
        if self.n_factors == 1 or not self.cor_weight:
            return 0.0
        n_batches = len(views[0]) // self.batch_size + 1
        size = int(max(self.n_users / n_batches, self.n_items / n_batches))
        users = torch.randperm(self.n_users, device=final.device)[:size]
        items = torch.randperm(self.n_items, device=final.device)[:size] + self.n_users
        intents = torch.stack(final[torch.cat([users, items])].chunk(self.n_factors, dim=1))
        pairs = (self.n_factors + 1) * self.n_factors / 2
        return self.cor_weight * distance_correlations(intents).sum() / pairs


def distance_correlations(x: torch.Tensor) -> torch.Tensor:
    """Distance correlation (Szekely et al., Annals of Statistics 2007) of each of K samples with the next.

    Args:
        x: shape ``(K, n, d)``.

    Returns:
        Shape ``(K - 1,)``, twice differentiable.
    """
    squares = x.square().sum(dim=2)
    distances = (squares[:, :, None] - 2 * x @ x.transpose(1, 2) + squares[:, None]).clamp(min=0).add(1e-8).sqrt()
    rows, columns = distances.mean(dim=1, keepdim=True), distances.mean(dim=2, keepdim=True)
    centred = distances - rows - columns + distances.mean(dim=(1, 2), keepdim=True)

    def covariance(first, second):
        return (first * second).mean(dim=(1, 2)).clamp(min=0).add(1e-8).sqrt()

    own = covariance(centred, centred)
    return covariance(centred[:-1], centred[1:]) / ((own[:-1] * own[1:]).sqrt() + 1e-10)
