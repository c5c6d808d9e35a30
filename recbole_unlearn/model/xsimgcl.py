"""XSimGCL (Yu et al., "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation", TKDE 2023)."""

from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.errors import UsageError
from recbole_unlearn.info_nce import info_nce, some_of
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.model.lightgcn import LightGCN
from recbole_unlearn.model.simgcl import noise_like
from recbole_unlearn.propagation import mean_propagation, propagate
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


class XSimGCLSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    n_layers: Layers = 2
    xsimgcl_lambda: Weight = setting(
        0.01,
        "The weight of the contrastive loss.",
        "By validation on ml-100k, where the .2 of its released code (yelp2018) ends at a quarter of the NDCG.",
    )
    xsimgcl_eps: Weight = setting(0.2, "The length of the noise added to each layer.", "Its released code.")
    xsimgcl_temperature: Temperature = setting(0.15, "The temperature of the contrastive loss.", "Its released code.")
    xsimgcl_layer: Count = setting(1, "The layer l* that is contrasted with the final embeddings.", "Its paper.")
    ssl_candidates: Candidates = 2048
    reg_weight: RegularizationWeight = 1e-4
    require_pow: SquaredNorm = True
    learning_rate: LearningRate = 0.01
    epochs: Epochs = 60


@MODELS.register
class XSimGCL(LightGCN):
    """LightGCN without the 0-th layer. One noisy propagation serves BPR, and the contrast of a layer with the final.

    The noise is SimGCL's. The model scores without it.

    Raises:
        UsageError: ``xsimgcl_layer`` is more than ``n_layers``.
    """

    settings = XSimGCLSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.ssl_weight = config["xsimgcl_lambda"]
        self.noise_length = config["xsimgcl_eps"]
        self.temperature = config["xsimgcl_temperature"]
        self.contrasted = config["xsimgcl_layer"]
        self.n_candidates = config["ssl_candidates"]
        if self.contrasted > self.n_layers:
            raise UsageError(f"Setting 'xsimgcl_layer' is {self.contrasted}, but `n_layers` is only {self.n_layers}.")

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return propagate(adjacency, mean_propagation([adjacency] * (self.n_layers - 1), ego))

    def training_forward(
        self, ego: torch.Tensor, adjacency: torch.Tensor, views: list[Any]
    ) -> tuple[torch.Tensor, list[Any]]:
        """The mean of the noisy layers 1..L, and the noisy layer l* as the only view; drawn anew for each batch."""
        layers = [ego]
        for _ in range(self.n_layers):
            layer = propagate(adjacency, layers[-1])
            layers.append(torch.addcmul(layer, layer.detach().sign(), noise_like(layer, self.noise_length)))
        return torch.stack(layers[1:]).mean(dim=0), [layers[self.contrasted]]

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Any]
    ) -> torch.Tensor | float:
        """Mean InfoNCE of the batch's users, and of its items, between the final embeddings and layer l*.

        With more than ``ssl_candidates`` of them, so many drawn at random stand for all.
        """
        (layer,) = views
        loss: torch.Tensor | float = 0.0
        for counts in occurrences[:2]:
            nodes = torch.nonzero(counts).flatten()
            positives = torch.arange(len(nodes), device=nodes.device)
            chosen = some_of(len(nodes), self.n_candidates, nodes.device)
            loss = loss + info_nce(final[nodes], layer[nodes], positives, self.temperature, chosen=chosen) / len(nodes)
        return self.ssl_weight * loss
