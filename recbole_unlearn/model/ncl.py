"""NCL.

Lin et al., "Improving Graph Collaborative Filtering with Neighborhood-enriched Contrastive Learning", WWW 2022.
"""

from dataclasses import dataclass
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from sklearn.cluster import KMeans

from recbole_unlearn.columns import all_columns, own_columns
from recbole_unlearn.graph import Graph
from recbole_unlearn.info_nce import info_nce, some_of
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.model.lightgcn import LightGCN
from recbole_unlearn.propagation import propagate
from recbole_unlearn.settings import (
    Candidates,
    Count,
    CountOrZero,
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

KMEANS_STEPS = 25  # Faiss's default, which the released code takes
NODES_A_CLUSTER = 2  # in the mean, at least: a cluster of a single node is no prototype


class NCLSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    n_layers: Layers = 3
    reg_weight: RegularizationWeight = 1e-4
    require_pow: SquaredNorm = False
    ssl_temp: Temperature = setting(0.1, "Temperature for contrastive loss.", "Its released code on ml-1m.")
    ssl_reg: Weight = setting(
        1e-7, "The structure-contrastive loss weight, of its sum over a batch.", "Its released code on ml-1m."
    )
    ssl_candidates: Candidates = 2048
    hyper_layers: Count = setting(1, "Half the layer that the structural contrast compares with the table.")
    alpha: Weight = setting(1.0, "The weight of items in the structural contrast.", "Its released code on ml-1m.")
    proto_reg: Weight = setting(
        8e-8, "The prototype-contrastive weight, of its sum over a batch.", "Its released code on ml-1m."
    )
    num_clusters: Count = setting(
        1000, "Number of prototypes of each side, at most one for two nodes.", "Its released code on ml-1m."
    )
    m_step: Count = setting(1, "Epochs that share the clusters.", "Its released code.")
    warm_up_step: CountOrZero = setting(20, "Epochs before the prototypes come in.", "Its released code.")
    learning_rate: LearningRate = 0.005
    epochs: Epochs = 60


@dataclass(frozen=True)
class Clusters:
    """K-means clusters of the users' and of the items' rows of a table; constants of the loss.

    Args:
        centroids: of each side, shape ``(K, d)``; with several processes, this one's columns.
        numbers: cluster of each node of a side, shape ``(n,)``.
    """

    centroids: list[torch.Tensor]
    numbers: list[torch.Tensor]

    @classmethod
    def of(cls, sides: tuple[torch.Tensor, ...], most: int) -> "Clusters":
        """Cluster the sides' rows, shape ``(n, d)`` each, from a start that torch's global generator draws."""
        clusters = cls([], [])
        for rows in sides:
            seed = int(torch.randint(2**31, ()))
            n_clusters = max(1, min(most, len(rows) // NODES_A_CLUSTER))
            kmeans = KMeans(n_clusters, init="random", n_init=1, max_iter=KMEANS_STEPS, random_state=seed)
            numbers = torch.from_numpy(kmeans.fit_predict(all_columns(rows).cpu().numpy())).long()
            clusters.centroids.append(own_columns(torch.from_numpy(kmeans.cluster_centers_).to(rows)))
            clusters.numbers.append(numbers.to(rows.device))
        return clusters

    def without(self, users: torch.Tensor, items: torch.Tensor) -> "Clusters":
        """The same ones: they belong to a table, not to a graph."""
        return self


@MODELS.register
class NCL(LightGCN):
    """LightGCN with a structural contrast (a layer with the table) and a semantic one (the table with prototypes).

    Prototypes are the k-means clusters of the current table. After ``warm_up_step`` epochs they are renewed every
    ``m_step`` epochs; outside of a training, the loss has both contrasts.
    """

    settings = NCLSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.temperature = config["ssl_temp"]
        self.structure_weight, self.item_weight = config["ssl_reg"], config["alpha"]
        self.prototype_weight, self.n_clusters = config["proto_reg"], config["num_clusters"]
        self.context_layer = 2 * config["hyper_layers"]
        self.epochs_of_views, self.warm_up = config["m_step"], config["warm_up_step"]
        self.batch_size = config["train_batch_size"]
        self.n_candidates = config["ssl_candidates"]

    def views_of(self, graph: Graph, ego: torch.Tensor) -> list[Any]:
        """The graph and, after the warm-up, the :class:`Clusters` of the table."""
        if self.epoch is not None and self.epoch < self.warm_up:
            return [graph]
        return [graph, Clusters.of(ego.split([self.n_users, self.n_items]), self.n_clusters)]

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Any]
    ) -> torch.Tensor | float:
        """Both contrasts of the batch's users and items, summed over a batch of at most ``train_batch_size`` pairs.

        The weights belong to that sum, so that of a larger batch counts as the mean of sums over smaller ones.
        """
        graph, *clusters = views
        context = ego
        for _ in range(self.context_layer):
            context = propagate(graph.adjacency.to(ego.dtype), context)
        sides = [self.n_users, self.n_items]
        counts = occurrences[0, : self.n_users], occurrences[1, self.n_users :]
        loss: torch.Tensor | float = 0.0
        for side, (rows, far, count) in enumerate(zip(ego.split(sides), context.split(sides), counts)):
            nodes = torch.nonzero(count).flatten()
            weight = self.structure_weight * (self.item_weight if side else 1.0)
            chosen = some_of(len(rows), self.n_candidates, rows.device)
            loss += weight * info_nce(far[nodes], rows, nodes, self.temperature, count[nodes], chosen)
            for each in clusters:
                own = each.numbers[side][nodes]
                centroids = each.centroids[side].to(rows.dtype)
                prototypes = info_nce(rows[nodes], centroids, own, self.temperature, count[nodes])
                loss += self.prototype_weight * prototypes
        size = occurrences[0].sum()
        return loss * (size.clamp(max=self.batch_size) / size)
