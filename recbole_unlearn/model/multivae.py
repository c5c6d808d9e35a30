"""MultiVAE (Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018)."""

from typing import Annotated

import torch
from pydantic import Field
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import MultiVAE as RecBoleMultiVAE

from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.model.network import NetworkRecommender, NetworkSettings
from recbole_unlearn.model.recommender import MODELS
from recbole_unlearn.settings import (
    Count,
    CountOrZero,
    Epochs,
    LearningRate,
    ShareOrZero,
    Weight,
    Words,
    setting,
)

Even = Annotated[int, Field(ge=2, multiple_of=2), Words("an even number >= 2")]


class MultiVAESettings(NetworkSettings):
    """The model"""

    mlp_hidden_size: list[Count] = setting([600], "The widths of the encoder's hidden layers.", "Its paper.")
    latent_dimension: Even = setting(128, "The encoder's outputs: means and variances of half as many.", "RecBole's.")
    dropout_prob: ShareOrZero = setting(0.5, "The dropout probability of a user's interactions.", "Its paper.")
    anneal_cap: Weight = setting(0.2, "The largest weight of the KL divergence.", "Its paper.")
    total_anneal_steps: CountOrZero = setting(
        200000, "Steps until the KL divergence would have a weight of 1; 0 begins at the largest.", "Its paper."
    )
    epochs: Epochs = 300
    train_batch_size: Count = setting(500, "The training batch size.")  # of users; its paper's
    learning_rate: LearningRate = 0.001


@MODELS.register
class MultiVAE(NetworkRecommender, RecBoleMultiVAE):
    r"""RecBole's variational autoencoder of users' interactions, which it reads from the graph that the model is on.

    The loss of a user with interactions x, decoded as z, with means and log variances mu and l of the code, is

    .. math:: -x' \log \mathrm{softmax}(z) - \frac{\beta}{2} \sum (1 + l - \mu^2 - e^l)

    where beta rises with the steps of the training, whose number the state keeps, so that a training can be resumed.
    """

    settings = MultiVAESettings
    updates: torch.Tensor

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.set_graph(dataset_graph(dataset))

    def build_histroy_items(self, dataset: Dataset) -> None:
        """Keep no interactions: RecBole's buffers of them would outlive a request."""

    def get_rating_matrix(self, user: torch.Tensor) -> torch.Tensor:
        """The users' interactions in ``self.graph`` as ones, shape ``(B, n_items)``."""
        matrix = self.encoder[0].weight.new_zeros(len(user), self.n_items)
        matrix[self.graph.items_of(user)] = 1.0
        return matrix

    def losses(self, interaction: Interaction) -> torch.Tensor:
        interactions = self.get_rating_matrix(interaction[self.USER_ID])
        outputs, mean, log_variance = self.forward(interactions)
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)
        entropy = -(torch.log_softmax(outputs, dim=1) * interactions).sum(dim=1)
        return entropy + self.divergence_weight() * divergence

    def divergence_weight(self) -> torch.Tensor:
        """beta at the present step of the training, a scalar."""
        if not self.total_anneal_steps:
            return self.updates.new_tensor(self.anneal_cap, dtype=torch.float32)
        return (self.updates / self.total_anneal_steps).clamp(max=self.anneal_cap)

    def calculate_loss(self, interaction: Interaction) -> torch.Tensor:
        self.updates += 1
        return super().calculate_loss(interaction)

    def logits(self, users: torch.Tensor) -> torch.Tensor:
        return self.forward(self.get_rating_matrix(users))[0]
