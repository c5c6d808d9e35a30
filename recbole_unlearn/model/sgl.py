"""SGL (Wu et al., "Self-supervised Graph Learning for Recommendation", SIGIR 2021)."""

from typing import Any, Literal

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import SGL as RecBoleSGL

from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.info_nce import info_nce, some_of
from recbole_unlearn.loss import embedding_regulariser
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.propagation import mean_propagation
from recbole_unlearn.settings import (
    Candidates,
    EmbeddingSize,
    Epochs,
    Layers,
    LearningRate,
    RegularizationWeight,
    Settings,
    ShareOrZero,
    Temperature,
    Weight,
    setting,
)


class SGLSettings(Settings):
    """The backbone and its training"""

    type: Literal["ED", "ND", "RW"] = setting("ED", "The type to generate views. Range in ['ED', 'ND', 'RW'].")
    embedding_size: EmbeddingSize = 64
    n_layers: Layers = 3
    ssl_tau: Temperature = setting(0.2, "The temperature in softmax.")
    ssl_weight: Weight = setting(0.01, "The hyperparameter to control the strengths of SSL.")
    ssl_candidates: Candidates = 2048
    drop_ratio: ShareOrZero = setting(0.1, "The dropout ratio.")
    reg_weight: RegularizationWeight = 1e-5
    learning_rate: LearningRate = 0.005
    epochs: Epochs = 30


@MODELS.register
class SGL(UnlearnableRecommender, RecBoleSGL):
    """RecBole's SGL with the graph as an argument.

    ``type`` is ED (edge dropout), ND (node dropout) or RW (a walk: another edge dropout at each layer).
    """

    settings = SGLSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        del self._user, self._item, self.train_graph
        self.n_candidates = config["ssl_candidates"]
        self.set_graph(dataset_graph(dataset))

    def create_adjust_matrix(self, is_sub: bool) -> None:
        """Keep RecBole's constructor from building its own adjacency; :meth:`set_graph` and views replace it."""

    def csr2tensor(self, matrix: Any) -> None:
        """See :meth:`create_adjust_matrix`."""

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return mean_propagation([adjacency] * self.n_layers, ego)

    def draw_views(self, graph: Graph) -> list[Graph]:
        """The graphs of the first view, then those of the second: one graph each, or with RW one for each layer."""
        drop = self._drop_nodes if self.type == "ND" else self._drop_edges
        return [drop(graph) for _ in range(2 * self.n_layers if self.type == "RW" else 2)]

    def _drop_edges(self, graph):
        return graph.subgraph(_keep(len(graph), 1 - self.drop_ratio, graph.device))

    def _drop_nodes(self, graph):
        users = ~_keep(graph.n_users, self.drop_ratio, graph.device)
        items = ~_keep(graph.n_items, self.drop_ratio, graph.device)
        return graph.subgraph(users[graph.users] & items[graph.items])

    def calculate_loss(self, interaction: Interaction) -> torch.Tensor:
        """The sum over the batch, which RecBole's SGL trains on."""
        return super().calculate_loss(interaction) * len(interaction)

    def regulariser(self, ego: torch.Tensor, occurrences: torch.Tensor) -> torch.Tensor:
        return self.reg_weight * embedding_regulariser(ego, occurrences, squared=False) / occurrences[0].sum()

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Graph]
    ) -> torch.Tensor:
        """InfoNCE of each of the batch's users (items) in one view against the users (items) in the other.

        With more than ``ssl_candidates`` of them, so many drawn at random stand for all.
        """
        half = len(views) // 2
        first, second = (self._propagated(ego, graphs) for graphs in (views[:half], views[half:]))
        sides = [self.n_users, self.n_items]
        total: torch.Tensor | float = 0.0
        counts = occurrences[0, : self.n_users], occurrences[1, self.n_users :]
        for one, other, count in zip(first.split(sides), second.split(sides), counts):
            nodes = torch.nonzero(count).flatten()
            # A node that occurs k times in the batch is one anchor of weight k: the same sum with less work.
            chosen = some_of(len(other), self.n_candidates, other.device)
            total = total + info_nce(one[nodes], other, nodes, self.ssl_tau, count[nodes], chosen)
        return self.ssl_weight * total / occurrences[0].sum()

    def _propagated(self, ego, graphs):
        layers = [graph.adjacency for graph in graphs]
        return mean_propagation(layers if self.type == "RW" else layers * self.n_layers, ego)


def _keep(n, share, device):
    """A boolean mask that is true at exactly ``int(n * share)`` random places."""
    keep = torch.zeros(n, dtype=torch.bool, device=device)
    keep[torch.randperm(n, device=device)[: int(n * share)]] = True
    return keep
