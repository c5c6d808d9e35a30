"""SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import model_validator
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.layers import TransformerEncoder
from torch import nn
from typing_extensions import Self

from recbole_unlearn.model.ordered import OrderedNetwork, OrderedSettings
from recbole_unlearn.model.recommender import MODELS
from recbole_unlearn.settings import Count, Epochs, Layers, LearningRate, Positive, ShareOrZero, setting

ALIKE = 32  # users of about one length that pass the network together


class SASRecSettings(OrderedSettings):
    """The model"""

    MAX_ITEM_LIST_LENGTH: Count = setting(200, "A user's last items that the model reads.", "Its paper's on MovieLens.")
    n_layers: Layers = 2  # blocks of attention; its paper's
    n_heads: Count = setting(1, "Attention heads, which divide hidden_size.", "Its paper.")
    hidden_size: Count = setting(50, "The width of items, positions and blocks.", "Its paper.")
    inner_size: Count = setting(50, "The width within a block's feed-forward layer.", "Its paper.")
    hidden_dropout_prob: ShareOrZero = setting(0.2, "The dropout probability of layers.", "Its paper's on MovieLens.")
    attn_dropout_prob: ShareOrZero = setting(0.2, "That of attention weights.", "Its paper's on MovieLens.")
    hidden_act: Literal["gelu", "relu", "swish", "tanh", "sigmoid"] = setting(
        "gelu", "The feed-forward layer's activation.", "RecBole's; it is smooth, as influence functions want it."
    )
    layer_norm_eps: Positive = setting(1e-12, "Added to the variance by layer normalisation.", "RecBole's.")
    initializer_range: Positive = setting(0.02, "The standard deviation of the first weights.", "RecBole's.")
    loss_type: Literal["CE"] = setting("CE", "Cross-entropy over all items.", "RecBole's.")
    epochs: Epochs = 100
    train_batch_size: Count = setting(32, "The training batch size.")  # of users; ours: benchmarks/networks.md
    learning_rate: LearningRate = 0.003

    @model_validator(mode="after")
    def heads_divide_the_width(self) -> Self:
        """Refuse a width that the heads cannot share."""
        if self.hidden_size % self.n_heads:
            raise ValueError(f"Setting 'n_heads' must divide hidden_size {self.hidden_size}, not {self.n_heads}.")
        return self


@MODELS.register
class SASRec(OrderedNetwork):
    r"""Attention over a user's items in their order: each position predicts the next item from those before it.

    A user's sequence begins with item 0, so that the first item is predicted too and a user whose interactions are all
    forgotten has scores. One forward pass trains all positions of a user. With h_t the last layer at position t and e_i
    the row of item i, the loss of a user with the last n items :math:`s_1 \dots s_n` is

    .. math:: -\sum_t \log \mathrm{softmax}(h_t \cdot e)_{s_{t+1}}

    The paper has a binary cross-entropy with one random negative item. All items in its place make the loss the same
    number at each call, which influence functions need, and the scores logarithms of probabilities. Layers are
    RecBole's, which normalise after each block; the paper's do so before.
    """

    settings = SASRecSettings
    examples_at_a_time = 128

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.length, width, eps = config["MAX_ITEM_LIST_LENGTH"], config["hidden_size"], config["layer_norm_eps"]
        self.item_embedding = nn.Embedding(self.n_items, width)
        self.position_embedding = nn.Embedding(self.length, width)
        self.normalisation = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        names = "n_layers", "n_heads", "hidden_size", "inner_size", "hidden_dropout_prob", "attn_dropout_prob"
        self.encoder = TransformerEncoder(
            **{name: config[name] for name in names}, hidden_act=config["hidden_act"], layer_norm_eps=eps
        )
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=config["initializer_range"])
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """The last layer at each position, which sees the items up to its own, shape ``(B, L, d)``.

        Args:
            items: ids in order, shape ``(B, L)``; what follows a sequence changes nothing before it.
        """
        size = items.shape[1]
        rows = self.item_embedding(items) + self.position_embedding.weight[:size]
        later = torch.full((size, size), -torch.inf, dtype=rows.dtype, device=rows.device).triu(1)
        return self.encoder(self.dropout(self.normalisation(rows)), later, output_all_encoded_layers=False)[-1]

    def losses(self, interaction: Interaction) -> torch.Tensor:
        users = interaction[self.USER_ID]
        order = torch.argsort(self.sizes(users), stable=True)  # those of one length together need no padding
        losses = torch.cat([self._losses(users[some]) for some in order.split(ALIKE)])
        return torch.empty_like(losses).index_copy(0, order, losses)

    def _losses(self, users):
        sequence, _ = self.sequences(users, self.length + 1)
        read, targets = sequence[:, :-1], sequence[:, 1:]
        row, position = torch.nonzero(targets, as_tuple=True)
        logits = self.forward(read)[row, position] @ self.item_embedding.weight.t()
        entropy = F.cross_entropy(logits, targets[row, position], reduction="none")
        return entropy.new_zeros(len(users)).index_add(0, row, entropy)

    def logits(self, users: torch.Tensor) -> torch.Tensor:
        order = torch.argsort(self.sizes(users), stable=True)
        last = torch.cat([self._last(users[some]) for some in order.split(ALIKE)])
        return torch.empty_like(last).index_copy(0, order, last) @ self.item_embedding.weight.t()

    def _last(self, users):
        """The last layer at the end of each user's sequence, shape ``(B, d)``."""
        sequence, sizes = self.sequences(users, self.length)
        return self.forward(sequence)[torch.arange(len(users), device=users.device), sizes - 1]
