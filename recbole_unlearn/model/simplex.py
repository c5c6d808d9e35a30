"""SimpleX (Mao et al., "SimpleX: A Simple and Strong Baseline for Collaborative Filtering", CIKM 2021)."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_normal_initialization
from recbole.utils import InputType

from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender
from recbole_unlearn.propagation import propagate
from recbole_unlearn.settings import (
    EmbeddingSize,
    Epochs,
    LearningRate,
    RegularizationWeight,
    Settings,
    SquaredNorm,
    Weight,
    Words,
    setting,
)

DROPOUT = 0.1  # of users' aggregated rows in training, as RecBole's
Cosine = Annotated[float, Field(ge=-1, le=1), Words("a number in [-1, 1]")]
Fusion = Annotated[float, Field(ge=0, le=1), Words("a number in [0, 1]")]


def _empty(length):
    if length is not None:
        raise ValueError
    return length


Uncut = Annotated[int | None, AfterValidator(_empty), Words("empty, because a history is never cut")]


class SimpleXSettings(Settings):
    """The backbone and its training"""

    embedding_size: EmbeddingSize = 64
    margin: Cosine = setting(0.5, "Cosine below which a negative item costs nothing.", "RecBole's.")
    negative_weight: Weight = setting(10, "Weight of the negative items' loss.", "RecBole's.")
    gamma: Fusion = setting(0.5, "Share of the user's own row; the history has the rest.", "RecBole's.")
    aggregator: Literal["mean"] = setting("mean", "How a history becomes one row.", "RecBole's default.")
    history_len: Uncut = setting(None, "Empty: a history is never cut, because what remains decides it alone.")
    reg_weight: RegularizationWeight = 1e-5
    require_pow: SquaredNorm = False
    learning_rate: LearningRate = 0.001
    epochs: Epochs = 300


@MODELS.register
class SimpleX(UnlearnableRecommender, GeneralRecommender):
    r"""Cosine scores of items and of users that are fused with their histories.

    With :math:`N_u` the items of user u in the graph, W trained besides the table and :math:`\gamma` a setting,

    .. math::
        h_u = \gamma e_u + (1 - \gamma) W \frac{1}{|N_u|} \sum_{i \in N_u} e_i, \qquad
        L = \frac{1}{B} \sum_{(u,i)} [1 - \cos(h_u, e_i)] + \frac{w}{K} \sum_{k=1}^{K} [\cos(h_u, e_{j_k}) - m]_+

    K is ``sample_num`` of ``train_neg_sample_args``. RecBole cuts a history to ``history_len`` interactions, drawn once
    from all data. Here it is the user's whole history in the graph: a revised model then has the remaining one.
    """

    settings = SimpleXSettings
    input_type = InputType.PAIRWISE
    weights_beyond_table = ("UI_map",)

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        size = config["embedding_size"]
        self.user_embedding = torch.nn.Embedding(self.n_users, size)
        self.item_embedding = torch.nn.Embedding(self.n_items, size)
        self.UI_map = torch.nn.Linear(size, size, bias=False)
        self.margin, self.negative_weight, self.gamma = (config[key] for key in ("margin", "negative_weight", "gamma"))
        self.reg_weight, self.require_pow = config["reg_weight"], config["require_pow"]
        self.n_negatives = config["train_neg_sample_args"]["sample_num"]
        self.apply(xavier_normal_initialization)
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        users, items = ego.split([self.n_users, self.n_items])
        history = _sums_of_neighbours(adjacency, ego)[: self.n_users] / _degrees(adjacency)[: self.n_users].clamp(min=1)
        fused = self.gamma * users + (1 - self.gamma) * self.UI_map(history)
        return F.normalize(torch.cat([F.dropout(fused, DROPOUT, self.training), items]), dim=1)

    def draw_views(self, graph: Graph) -> list[Graph]:
        """The graph itself: the regulariser of a batch's histories needs it."""
        return [graph]

    def model_loss(
        self, interaction: Interaction, ego: torch.Tensor, final: torch.Tensor, views: list[Graph]
    ) -> torch.Tensor:
        """The cosine contrastive loss and the regulariser; a positive pair comes once for each of its K negatives."""
        users = interaction[self.USER_ID]
        items, negatives = (interaction[field] + self.n_users for field in (self.ITEM_ID, self.NEG_ITEM_ID))
        of_users = F.embedding(users, final)
        positive, negative = ((of_users * F.embedding(side, final)).sum(dim=1) for side in (items, negatives))
        contrast = F.relu(1 - positive) + self.negative_weight * F.relu(negative - self.margin)
        squares = ego.square().sum(dim=1, keepdim=True)
        of_histories = _sums_of_neighbours(views[0].adjacency, squares)
        times = self.n_negatives  # that rows of users, items and histories repeat
        sides = [squares[users] / times, squares[items] / times, of_histories[users] / times, squares[negatives]]
        return contrast.mean() + self.reg_weight * self._norms(sides) * times / len(users)

    def _norms(self, sides):
        """RecBole's ``EmbLoss`` of a batch, summed over it, from the squared norms of rows."""
        sums = torch.stack([side.sum() for side in sides])
        return sums.sum() / 2 if self.require_pow else sums.clamp(min=torch.finfo(sums.dtype).tiny).sqrt().sum()


def _degrees(adjacency):
    """The number of each node's neighbours, shape ``(N, 1)``, which the adjacency itself tells."""
    return adjacency.crow_indices().diff()[:, None].to(adjacency.dtype)


def _sums_of_neighbours(adjacency, x):
    """``A x`` without the normalisation of the adjacency, differentiable in x."""
    scale = _degrees(adjacency).sqrt()
    return scale * propagate(adjacency, scale * x)
