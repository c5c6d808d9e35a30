"""Matrix factorisation with BPR (Rendle et al., "BPR: Bayesian Personalized Ranking", UAI 2009)."""

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.general_recommender import BPR as RecBoleBPR

from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.settings import EmbeddingSize, Settings


class BPRSettings(Settings):
    """The backbone"""

    embedding_size: EmbeddingSize = 64


@MODELS.register
class BPR(UnlearnableRecommender, RecBoleBPR):
    """RecBole's matrix factorisation, the shortest example of the contract; it uses no graph."""

    settings: type[Settings] = BPRSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return ego
