"""SimGCL (Yu et al., "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning", SIGIR 2022)."""

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_uniform_initialization
from recbole.utils import InputType

from recbole_unlearn.columns import own_columns, rand_like_all
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.info_nce import info_nce, some_of
from recbole_unlearn.loss import embedding_regulariser
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.propagation import mean_propagation, propagate
from recbole_unlearn.settings import (
    Candidates,
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


class SimGCLSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    n_layers: Layers = 3
    simgcl_lambda: Weight = setting(0.01, "The weight of the contrastive loss.")
    simgcl_eps: Weight = setting(0.2, "The length of the noise added to each layer.")
    simgcl_temperature: Temperature = setting(0.1, "The temperature of the contrastive loss.")
    ssl_candidates: Candidates = 2048
    simgcl_sum: bool = setting(
        False,
        "Whether that loss is RecBole-GNN's sum over a batch's rows, not the mean over its users and items.",
    )
    reg_weight: RegularizationWeight = 1e-4
    require_pow: SquaredNorm = True
    learning_rate: LearningRate = 0.01
    epochs: Epochs = 60


@MODELS.register
class SimGCL(UnlearnableRecommender, GeneralRecommender):
    r"""LightGCN without the 0-th layer, trained with BPR and the contrast of two noisy propagations.

    Each layer adds noise of length ``simgcl_eps`` in the orthant of the embedding that it perturbs:
    :math:`e' = e + \epsilon \, \mathrm{sign}(e) \odot \frac{r}{|r|}`, r uniform.
    """

    settings = SimGCLSettings

    input_type = InputType.PAIRWISE

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.n_layers = config["n_layers"]
        self.reg_weight = config["reg_weight"]
        self.require_pow = config["require_pow"]
        self.ssl_weight = config["simgcl_lambda"]
        self.noise_length = config["simgcl_eps"]
        self.temperature = config["simgcl_temperature"]
        self.sums = config["simgcl_sum"]
        self.n_candidates = config["ssl_candidates"]
        self.user_embedding = torch.nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = torch.nn.Embedding(self.n_items, config["embedding_size"])
        self.apply(xavier_uniform_initialization)
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return propagate(adjacency, mean_propagation([adjacency] * (self.n_layers - 1), ego))

    def regulariser(self, ego: torch.Tensor, occurrences: torch.Tensor) -> torch.Tensor:
        return self.reg_weight * embedding_regulariser(ego, occurrences, self.require_pow)

    def draw_views(self, graph: Graph) -> list[Graph]:
        """The graph that both noisy propagations run on."""
        return [graph]

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Graph]
    ) -> torch.Tensor | float:
        """Mean InfoNCE of the batch's users, and of its items, between two noisy propagations.

        With more than ``ssl_candidates`` of them, so many drawn at random stand for all. With ``simgcl_sum``, as in
        RecBole-GNN, it is the sum over the rows: a node counts as often as it occurs, also among the candidates.
        """
        if not self.ssl_weight:
            return 0.0
        with torch.no_grad():  # the noise is a constant: a view has the gradient of the final embeddings
            hop = propagate(views[0].adjacency, ego)
            noises = [self._perturbed(hop, views[0].adjacency) - final for _ in range(2)]
        first, second = (final + noise for noise in noises)
        loss: torch.Tensor | float = 0.0
        for counts in occurrences[:2]:
            nodes = torch.nonzero(counts).flatten()
            if self.sums:
                nodes = nodes.repeat_interleave(counts[nodes].long())
            loss = loss + self._contrast(first[nodes], second[nodes])
        return self.ssl_weight * loss

    def _perturbed(self, hop, adjacency):
        """Mean of the noisy layers 1..L, shape ``(N, d)``; ``hop`` is the first of them before its noise."""
        total, layer = torch.zeros_like(hop), hop
        for step in range(self.n_layers):
            layer = propagate(adjacency, layer) if step else layer
            layer = torch.addcmul(layer, layer.sign(), noise_like(layer, self.noise_length))
            total += layer
        return total.div_(self.n_layers)

    def _contrast(self, first, second):
        positives = torch.arange(len(first), device=first.device)
        chosen = some_of(len(second), self.n_candidates, second.device)
        loss = info_nce(first, second, positives, self.temperature, chosen=chosen)
        return loss if self.sums else loss / len(first)


def noise_like(layer: torch.Tensor, length: float) -> torch.Tensor:
    """Rows of random positive direction and of this length, in the layer's shape ``(N, d)``."""
    return own_columns(F.normalize(rand_like_all(layer), dim=1)).mul_(length)
