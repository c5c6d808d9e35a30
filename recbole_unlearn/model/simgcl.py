"""SimGCL (Yu et al., "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning", SIGIR 2022)."""

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_uniform_initialization
from recbole.model.loss import BPRLoss, EmbLoss
from recbole.utils import InputType

from recbole_unlearn.graph import mean_propagation, propagate
from recbole_unlearn.loss import info_nce
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender, dataset_graph


@MODELS.register
class SimGCL(UnlearnableRecommender, GeneralRecommender):
    r"""LightGCN without the 0-th layer, trained with BPR and the contrast of two noisy propagations.

    Noise of length ``simgcl_eps`` is added to each layer, in the orthant of the embedding it perturbs:
    :math:`e' = e + \epsilon \, \mathrm{sign}(e) \odot \frac{r}{|r|}`, r uniform.
    """

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.n_layers = config["n_layers"]
        self.reg_weight = config["reg_weight"]
        self.require_pow = config["require_pow"]
        self.ssl_weight = config["simgcl_lambda"]
        self.noise_length = config["simgcl_eps"]
        self.temperature = config["simgcl_temperature"]
        self.user_embedding = torch.nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = torch.nn.Embedding(self.n_items, config["embedding_size"])
        self.bpr_loss = BPRLoss()
        self.reg_loss = EmbLoss()
        self.apply(xavier_uniform_initialization)
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego, adjacency):
        return propagate(adjacency, mean_propagation([adjacency] * (self.n_layers - 1), ego))

    def draw_views(self, graph):
        """The adjacency that both noisy propagations run on."""
        return graph.adjacency

    def model_loss(self, interaction, ego, final, views):
        user, positive, negative = self._triple(interaction, final)
        bpr = self.bpr_loss((user * positive).sum(dim=1), (user * negative).sum(dim=1))
        regulariser = self.reg_loss(*self._triple(interaction, ego), require_pow=self.require_pow).squeeze()
        loss = bpr + self.reg_weight * regulariser
        if self.ssl_weight:
            nodes = torch.unique(interaction[self.USER_ID]), torch.unique(interaction[self.ITEM_ID]) + self.n_users
            first, second = self._perturbed(ego, views), self._perturbed(ego, views)
            loss = loss + self.ssl_weight * sum(self._contrast(first[n], second[n]) for n in nodes)
        return loss

    def _perturbed(self, ego, adjacency):
        """Mean of the noisy layers 1..L, shape ``(N, d)``."""
        layer, total = ego, 0
        for _ in range(self.n_layers):
            layer = propagate(adjacency, layer)
            noise = F.normalize(torch.rand_like(layer), dim=1).mul_(self.noise_length)
            layer = layer + layer.detach().sign() * noise
            total = total + layer
        return total / self.n_layers

    def _contrast(self, first, second):
        positives = torch.arange(len(first), device=first.device)
        return info_nce(first, second, positives, self.temperature) / len(first)
