"""LightGCL (Cai et al., "LightGCL: Simple Yet Effective Graph Contrastive Learning for Recommendation", ICLR 2023)."""

from dataclasses import dataclass
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from scipy.sparse import csr_matrix
from sklearn.utils.extmath import randomized_svd

from recbole_unlearn.graph import Graph
from recbole_unlearn.info_nce import info_nce, some_of
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.model.lightgcn import LightGCN
from recbole_unlearn.propagation import mean_propagation
from recbole_unlearn.settings import (
    Candidates,
    Count,
    EmbeddingSize,
    Epochs,
    Layers,
    LearningRate,
    RegularizationWeight,
    Settings,
    SquaredNorm,
    Temperature,
    Weight,
    setting,
)

SVD_STEPS = 10  # of the power iteration: enough for singular values of a graph, which fall slowly


class LightGCLSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    n_layers: Layers = 2
    lightgcl_rank: Count = setting(5, "Singular triplets of the graph in its view, q.", "Its released code.")
    lightgcl_lambda: Weight = setting(
        0.01,
        "The weight of the contrastive loss.",
        "By validation on ml-100k, where the .2 of its released code ends at half of the NDCG.",
    )
    lightgcl_temperature: Temperature = setting(0.2, "The temperature of the contrastive loss.", "Its released code.")
    ssl_candidates: Candidates = 2048
    reg_weight: RegularizationWeight = 1e-4
    require_pow: SquaredNorm = True
    learning_rate: LearningRate = 0.005
    epochs: Epochs = 60


@dataclass(frozen=True)
class LowRankView:
    r"""A graph, and the truncated SVD :math:`U S V^\top` of its interactions :math:`D_u^{-1/2} R D_i^{-1/2}`.

    Args:
        graph: the training's.
        users: ``U S``, shape ``(n_users, q)``.
        items: ``V``, shape ``(n_items, q)``.
    """

    graph: Graph
    users: torch.Tensor
    items: torch.Tensor

    @classmethod
    def of(cls, graph: Graph, rank: int) -> "LowRankView":
        """Compute it, the same whenever it is computed (Halko et al., SIAM Review 2011, as in the paper).

        Args:
            graph: on any device.
            rank: q, at most that of the interactions.
        """
        of_users, of_items = graph.degrees().clamp(min=1).double().rsqrt().cpu().split([graph.n_users, graph.n_items])
        users, items = graph.users.cpu(), graph.items.cpu()
        values = (of_users[users] * of_items[items]).numpy()
        matrix = csr_matrix((values, (users.numpy(), items.numpy())), shape=(graph.n_users, graph.n_items))
        left, singular, right = randomized_svd(matrix, min(rank, *matrix.shape), n_iter=SVD_STEPS, random_state=0)
        sides = (torch.from_numpy(side).float().to(graph.device) for side in (left * singular, right.T.copy()))
        return cls(graph, *sides)

    def without(self, users: torch.Tensor, items: torch.Tensor) -> "LowRankView":
        """The view of what remains: a factorisation of its own."""
        return self.of(self.graph.without(users, items), self.users.shape[1])

    def propagate(self, x: torch.Tensor) -> torch.Tensor:
        """A product with the low-rank adjacency, of a node table of shape ``(N, d)``; costs ``O(N q d)``."""
        users, items = (side.to(x) for side in (self.users, self.items))
        of_users, of_items = x.split([len(users), len(items)])
        return torch.cat([users @ (items.t() @ of_items), items @ (users.t() @ of_users)])


@MODELS.register
class LightGCL(LightGCN):
    r"""LightGCN with summed layers, and a contrast with a view whose messages pass over a truncated SVD of the graph.

    With the layers :math:`Z_l` and the low-rank adjacency :math:`\hat A_q`, the view is
    :math:`G = Z_0 + \sum_{l=1}^{L} \hat A_q Z_{l-1}`. InfoNCE contrasts the sums over layers, as the released code
    does, by cosines, as the paper does. The released code's edge dropout is 0 and left out.
    """

    settings = LightGCLSettings
    epochs_of_views = None

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.rank = config["lightgcl_rank"]
        self.ssl_weight = config["lightgcl_lambda"]
        self.temperature = config["lightgcl_temperature"]
        self.n_candidates = config["ssl_candidates"]

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return (self.n_layers + 1) * mean_propagation([adjacency] * self.n_layers, ego)

    def draw_views(self, graph: Graph) -> list[Any]:
        """The :class:`LowRankView` of the graph."""
        return [LowRankView.of(graph, self.rank)]

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Any]
    ) -> torch.Tensor | float:
        """Mean InfoNCE of the batch's users (items) against all users (items) of the low-rank view.

        With more than ``ssl_candidates`` of them, so many drawn at random stand for all.
        """
        (view,) = views
        loss: torch.Tensor | float = 0.0
        below_last = self.n_layers * mean_propagation([view.graph.adjacency.to(ego.dtype)] * (self.n_layers - 1), ego)
        sides = [self.n_users, self.n_items]
        counts = occurrences[0, : self.n_users], occurrences[1, self.n_users :]
        for own, other, count in zip(final.split(sides), (ego + view.propagate(below_last)).split(sides), counts):
            nodes = torch.nonzero(count).flatten()
            chosen = some_of(len(other), self.n_candidates, nodes.device)
            loss = loss + info_nce(own[nodes], other, nodes, self.temperature, count[nodes], chosen) / count.sum()
        return self.ssl_weight * loss
