"""A backbone of one's own: LightGCN whose layers count less the deeper they are.

run-unlearn run --import=examples/my_models.py --model=FadingGCN --dataset=ml-100k
"""

import torch

from recbole_unlearn.model import MODELS
from recbole_unlearn.model.lightgcn import LightGCN, LightGCNSettings
from recbole_unlearn.propagation import propagate
from recbole_unlearn.settings import Settings, Share, setting


class FadingGCNSettings(LightGCNSettings):
    """The backbone and its training"""

    fading: Share = setting(0.5, "How much less each layer counts than the one before.")


@MODELS.register
class FadingGCN(LightGCN):
    """LightGCN with geometric layer weights: ``Z = sum_l f^l A^l E / sum_l f^l``."""

    settings: type[Settings] = FadingGCNSettings

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.fading = config["fading"]

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        total, layer, weight, weights = ego, ego, 1.0, 1.0
        for _ in range(self.n_layers):
            layer, weight = propagate(adjacency, layer), weight * self.fading
            total, weights = total + weight * layer, weights + weight
        return total / weights
