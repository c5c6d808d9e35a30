"""LightGCN (He et al., "LightGCN: Simplifying and Powering Graph Convolution Network", SIGIR 2020)."""

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN

from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.loss import embedding_regulariser
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.propagation import mean_propagation
from recbole_unlearn.settings import (
    EmbeddingSize,
    Epochs,
    Layers,
    LearningRate,
    RegularizationWeight,
    Settings,
    SquaredNorm,
)


class LightGCNSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    n_layers: Layers = 3
    reg_weight: RegularizationWeight = 1e-4
    require_pow: SquaredNorm = True
    learning_rate: LearningRate = 0.005
    epochs: Epochs = 80


@MODELS.register
class LightGCN(UnlearnableRecommender, RecBoleLightGCN):
    """RecBole's LightGCN with the graph as an argument and a CSR adjacency."""

    settings: type[Settings] = LightGCNSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        # RecBole keeps the training matrix and its adjacency; both would remember the forgotten data.
        del self.interaction_matrix, self.norm_adj_matrix
        self.set_graph(dataset_graph(dataset))

    def get_norm_adj_mat(self) -> torch.Tensor:
        """Keep RecBole's constructor from building its own, which takes seconds and multiplies four times slower."""
        return self.user_embedding.weight.new_empty(0)

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return mean_propagation([adjacency] * self.n_layers, ego)

    def regulariser(self, ego: torch.Tensor, occurrences: torch.Tensor) -> torch.Tensor:
        return self.reg_weight * embedding_regulariser(ego, occurrences, self.require_pow)
