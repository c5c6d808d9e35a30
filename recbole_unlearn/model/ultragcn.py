"""UltraGCN.

Mao et al., "UltraGCN: Ultra Simplification of Graph Convolutional Networks for Recommendation", CIKM 2021.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from scipy.sparse import csr_matrix

from recbole_unlearn.columns import sum_columns
from recbole_unlearn.graph import Graph
from recbole_unlearn.info_nce import some_of
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.model.bpr import BPR
from recbole_unlearn.settings import Count, EmbeddingSize, Epochs, LearningRate, Positive, Settings, Weight, setting

BLOCK = 1024  # items whose co-occurrences with all are held at a time


class UltraGCNSettings(Settings):
    """The backbone and its training; weights without another source are those of its released code on ml-1m"""

    embedding_size: EmbeddingSize = 64
    ultragcn_w1: Weight = setting(1e-7, "Weight of each pair.")
    ultragcn_w2: Weight = setting(1.0, "Weight of a pair's beta.")
    ultragcn_w3: Weight = setting(1e-7, "Weight of each negative pair.")
    ultragcn_w4: Weight = setting(1.0, "Weight of a negative pair's beta.")
    ultragcn_negative_weight: Weight = setting(200.0, "Weight of a pair's mean over negative items.")
    ultragcn_negatives: Annotated[int, Field(ge=1)] | None = setting(
        2048, "Items that stand for all as a batch's negatives; empty takes all.", "Ours: it draws 200 for each pair."
    )
    ultragcn_lambda: Weight = setting(1e-3, "Weight of the item-item graph.")
    ultragcn_neighbours: Count = setting(10, "Items in the graph that an item is closest to, K.")
    ultragcn_gamma: Weight = setting(
        1e-3,
        "Weight of half the table's squared norm, once a batch.",
        "By validation on ml-100k: with 1e-4, its released code's, the ranking falls again after 20 epochs.",
    )
    ultragcn_initial: Positive = setting(1e-3, "Standard deviation of the initial table.")
    learning_rate: LearningRate = 0.02  # by validation on ml-100k: at .005 it ranks by popularity for over 20 epochs
    epochs: Epochs = 60


@dataclass(frozen=True)
class Constants:
    r"""The constants of a graph: beta's two factors, and each item's K closest with their omega.

    :math:`\beta_{ui} = \frac{1}{d_u} \sqrt{(d_u + 1) / (d_i + 1)}`, and with the co-occurrences G of items and their
    sums g, :math:`\omega_{ij} = \frac{G_{ij}}{g_i - G_{ii}} \sqrt{g_i / g_j}` for items :math:`j \neq i`.

    Args:
        graph: the training's.
        of_users, of_items: factors of beta, shape ``(n_users,)`` and ``(n_items,)``.
        neighbours: shape ``(n_items, K)``.
        omega: 0 where an item has fewer neighbours, shape ``(n_items, K)``.
    """

    graph: Graph
    of_users: torch.Tensor
    of_items: torch.Tensor
    neighbours: torch.Tensor
    omega: torch.Tensor

    @classmethod
    def of(cls, graph: Graph, n_neighbours: int) -> "Constants":
        """Compute them; the co-occurrences block by block, in ``O(n_items)`` memory."""
        users, items = graph.degrees().double().split([graph.n_users, graph.n_items])
        tables = _closest(graph.to("cpu"), min(n_neighbours, graph.n_items - 1))
        neighbours, omega = (torch.from_numpy(table).to(users.device) for table in tables)
        return cls(
            graph,
            ((users + 1).sqrt() / users.clamp(min=1)).float(),
            (items + 1).rsqrt().float(),
            neighbours,
            omega.float(),
        )

    def without(self, users: torch.Tensor, items: torch.Tensor) -> "Constants":
        """Those of what remains."""
        return self.of(self.graph.without(users, items), self.neighbours.shape[1])


def _closest(graph, k):
    """The k items of largest omega for each item, and these omegas, shape ``(n_items, k)`` each."""
    places = graph.users.numpy(), graph.items.numpy()
    matrix = csr_matrix((np.ones(len(graph)), places), shape=(graph.n_users, graph.n_items))
    transposed = matrix.T.tocsr()
    sums, own = transposed @ (matrix @ np.ones(graph.n_items)), np.asarray(matrix.sum(axis=0)).ravel()
    roots = np.sqrt(sums)
    of_row = np.divide(roots, sums - own, out=np.zeros_like(sums), where=sums > own)
    of_column = np.divide(1, roots, out=np.zeros_like(sums), where=sums > 0)
    neighbours, omegas = [], []
    for start in range(0, graph.n_items, BLOCK):
        rows = np.arange(start, min(start + BLOCK, graph.n_items))
        omega = (transposed[rows] @ matrix).toarray() * of_row[rows, None] * of_column
        omega[np.arange(len(rows)), rows] = 0
        closest = np.argsort(-omega, axis=1, kind="stable")[:, :k]
        neighbours.append(closest)
        omegas.append(np.take_along_axis(omega, closest, axis=1))
    return np.concatenate(neighbours), np.concatenate(omegas)


@MODELS.register
class UltraGCN(BPR):
    r"""A table without propagation, trained on the limit of infinitely many layers.

    Its training first learns the items' popularity and ranks by nothing else until steps times learning rate exceed
    some 4 to 10: early stopping must not end it there.

    .. math::
        \sum_{(u,i)} \Big[ (w_1 + w_2 \beta_{ui}) \sigma^+(-s_{ui})
        + \frac{w}{|N|} \sum_{j \in N} (w_3 + w_4 \beta_{uj}) \sigma^+(s_{uj})
        + \lambda \sum_{j \in S(i)} \omega_{ij} \sigma^+(-s_{uj}) \Big] + \frac{\gamma}{2} |E|^2

    with softplus :math:`\sigma^+`. A batch's pairs share the negative items N, drawn among all; positives may be among
    them, as in the released code, which draws for each pair.
    """

    settings = UltraGCNSettings
    epochs_of_views = None

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.pair_weights = config["ultragcn_w1"], config["ultragcn_w2"]
        self.negative_weights = config["ultragcn_w3"], config["ultragcn_w4"]
        self.negative_weight, self.n_candidates = config["ultragcn_negative_weight"], config["ultragcn_negatives"]
        self.graph_weight, self.n_neighbours = config["ultragcn_lambda"], config["ultragcn_neighbours"]
        self.norm_weight = config["ultragcn_gamma"] / config["train_batch_size"]
        for embedding in (self.user_embedding, self.item_embedding):
            torch.nn.init.normal_(embedding.weight, std=config["ultragcn_initial"])

    def draw_views(self, graph: Graph) -> list[Any]:
        """The :class:`Constants` of the graph."""
        return [Constants.of(graph, self.n_neighbours)]

    def calculate_loss(self, interaction: Interaction) -> torch.Tensor:
        """The sum over the batch, which the released code trains on."""
        return super().calculate_loss(interaction) * len(interaction)

    def model_loss(
        self, interaction: Interaction, ego: torch.Tensor, final: torch.Tensor, views: list[Any]
    ) -> torch.Tensor:
        (constants,) = views
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        of_users, of_items = (side.to(ego.dtype) for side in (constants.of_users, constants.of_items))
        rows, columns = final.split([self.n_users, self.n_items])

        constant, of_beta = self.pair_weights
        weights = constant + of_beta * of_users[users] * of_items[items]
        scores = sum_columns((rows[users] * columns[items]).sum(dim=1))
        pairs = weights @ F.softplus(-scores)

        drawn = some_of(self.n_items - 1, self.n_candidates, items.device)
        others = torch.arange(1, self.n_items, device=items.device) if drawn is None else drawn + 1  # no padding
        different, counts = torch.unique(users, return_counts=True)
        constant, of_beta = self.negative_weights
        weights = constant + of_beta * torch.outer(of_users[different], of_items[others])
        scores = sum_columns(rows[different] @ columns[others].t())
        negatives = counts.to(ego.dtype) @ (weights * F.softplus(scores)).mean(dim=1)

        close = constants.neighbours[items]
        scores = sum_columns((rows[users][:, None] * columns[close]).sum(dim=2))
        neighbours = (constants.omega[items].to(ego.dtype) * F.softplus(-scores)).sum()

        norm = self.norm_weight / 2 * sum_columns(ego.square().sum())
        total = pairs + self.negative_weight * negatives + self.graph_weight * neighbours
        return total / len(users) + norm
