"""NGCF (Wang et al., "Neural Graph Collaborative Filtering", SIGIR 2019)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.general_recommender import NGCF as RecBoleNGCF

from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.loss import embedding_regulariser
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.propagation import propagate
from recbole_unlearn.settings import (
    Count,
    EmbeddingSize,
    Epochs,
    LearningRate,
    RegularizationWeight,
    Settings,
    ShareOrZero,
    setting,
)

SLOPE = 0.2  # of the LeakyReLU, as RecBole's and the paper's released code


class NGCFSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    hidden_size_list: Annotated[list[Count], Field(min_length=1)] = setting(
        [64, 64, 64], "The width of each layer.", "Its paper's section 4.2.3."
    )
    node_dropout: ShareOrZero = setting(0.0, "Share of nodes whose messages a layer drops in training.", "RecBole's.")
    message_dropout: ShareOrZero = setting(
        0.1, "Share of a layer's numbers dropped in training.", "Its paper's section 4.2.3."
    )
    reg_weight: RegularizationWeight = 1e-5
    learning_rate: LearningRate = 0.005
    epochs: Epochs = 80


@MODELS.register
class NGCF(UnlearnableRecommender, RecBoleNGCF):
    r"""RecBole's NGCF with the graph as an argument. A layer is

    .. math::
        E^{(l+1)} = \mathrm{LeakyReLU}((\hat A + I) E^{(l)} W_1 + b_1 + (\hat A E^{(l)} \odot E^{(l)}) W_2 + b_2)

    with rows then of length 1, and the final embeddings are all layers side by side. The layers' weights are trained
    besides the table.

    Both dropouts act in training only. RecBole drops messages while it evaluates too, so that its scores are random;
    and of ``node_dropout`` it drops single edges, where the paper drops all messages of a node.
    """

    settings = NGCFSettings
    weights_beyond_table = ("GNNlayers",)

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        # RecBole keeps the training matrix and its adjacency; both would remember the forgotten data.
        del self.interaction_matrix, self.norm_adj_matrix, self.eye_matrix, self.sparse_dropout
        self.set_graph(dataset_graph(dataset))

    def get_norm_adj_mat(self) -> torch.Tensor:
        """Keep RecBole's constructor from building its own adjacency; :meth:`set_graph` replaces it."""
        return self.user_embedding.weight.new_empty(0)

    def get_eye_mat(self) -> torch.Tensor:
        """See :meth:`get_norm_adj_mat`; no layer needs an identity matrix."""
        return self.user_embedding.weight.new_empty(0)

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        layers = [ego]
        for layer in self.GNNlayers:
            own = layers[-1]
            sent = own * F.dropout(torch.ones_like(own[:, :1]), self.node_dropout, self.training)
            received = propagate(adjacency, sent)
            mixed = layer.linear(own + received) + layer.interActTransform(received * own)
            kept = F.dropout(F.leaky_relu(mixed, SLOPE), self.message_dropout, self.training)
            layers.append(F.normalize(kept, dim=1))
        return torch.cat(layers, dim=1)

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Graph]
    ) -> torch.Tensor:
        """The regulariser, here because it is one of the final embeddings."""
        return self.reg_weight * embedding_regulariser(final, occurrences, squared=False)
