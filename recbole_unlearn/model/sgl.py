"""SGL (Wu et al., "Self-supervised Graph Learning for Recommendation", SIGIR 2021)."""

import torch
import torch.nn.functional as F
from recbole.model.general_recommender import SGL as RecBoleSGL

from recbole_unlearn.errors import unknown
from recbole_unlearn.graph import mean_propagation
from recbole_unlearn.loss import info_nce
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender, dataset_graph


@MODELS.register
class SGL(UnlearnableRecommender, RecBoleSGL):
    """RecBole's SGL with the graph as an argument; ``type`` is ED (edge dropout), ND (node dropout) or RW (a walk:
    another edge dropout at each layer)."""

    def __init__(self, config, dataset):
        if config["type"] not in ("ED", "ND", "RW"):
            raise unknown("type of SGL's views", config["type"], ("ED", "ND", "RW"))
        super().__init__(config, dataset)
        del self._user, self._item, self.train_graph
        self.set_graph(dataset_graph(dataset))

    def create_adjust_matrix(self, is_sub):
        """Keep RecBole's constructor from building its own adjacency; :meth:`set_graph` and views replace it."""

    def csr2tensor(self, matrix):
        """See :meth:`create_adjust_matrix`."""

    def forward(self, ego, adjacency):
        return mean_propagation([adjacency] * self.n_layers, ego)

    def draw_views(self, graph):
        """Two views, each a list of one adjacency a layer, from torch's global generator."""
        return self._draw_view(graph), self._draw_view(graph)

    def _draw_view(self, graph):
        if self.type == "RW":
            return [self._drop_edges(graph) for _ in range(self.n_layers)]
        return [self._drop_nodes(graph) if self.type == "ND" else self._drop_edges(graph)] * self.n_layers

    def _drop_edges(self, graph):
        return graph.subgraph(_keep(len(graph), 1 - self.drop_ratio, graph.users.device)).adjacency

    def _drop_nodes(self, graph):
        users = ~_keep(graph.n_users, self.drop_ratio, graph.users.device)
        items = ~_keep(graph.n_items, self.drop_ratio, graph.users.device)
        return graph.subgraph(users[graph.users] & items[graph.items]).adjacency

    def model_loss(self, interaction, ego, final, views):
        return self._summed_loss(interaction, ego, final, views) / len(interaction)

    def calculate_loss(self, interaction):
        """RecBole's SGL trains on the sum over the batch."""
        return super().calculate_loss(interaction) * len(interaction)

    def _summed_loss(self, interaction, ego, final, views):
        user, positive, negative = self._triple(interaction, final)
        bpr = -F.logsigmoid((user * positive).sum(dim=1) - (user * negative).sum(dim=1)).sum()
        regulariser = self.reg_loss(*self._triple(interaction, ego)).squeeze()
        contrast = self._contrast(interaction, *(mean_propagation(view, ego) for view in views))
        return bpr + self.reg_weight * regulariser + self.ssl_weight * contrast

    def _contrast(self, interaction, first, second):
        """InfoNCE of the batch's nodes in one view against all nodes of their side in the other, summed."""
        total = 0
        sides = [self.n_users, self.n_items]
        for field, one, other in zip((self.USER_ID, self.ITEM_ID), first.split(sides), second.split(sides)):
            # A node that occurs k times in the batch is one anchor of weight k: the same sum for less work.
            nodes, count = torch.unique(interaction[field], return_counts=True)
            total = total + info_nce(one[nodes], other, nodes, self.ssl_tau, count.to(one.dtype))
        return total


def _keep(n, share, device):
    """A boolean mask with exactly ``int(n * share)`` random places true."""
    keep = torch.zeros(n, dtype=torch.bool, device=device)
    keep[torch.randperm(n, device=device)[: int(n * share)]] = True
    return keep
