"""Several networks of one kind that score together."""

import copy

import torch
from recbole.data.interaction import Interaction
from torch.nn.utils import vector_to_parameters

from recbole_unlearn.model.network import NetworkRecommender


class Committee(torch.nn.Module):
    """A recommender whose scores are the mean of several networks' (logarithms of probabilities).

    Args:
        model: on the graph that all of them read; not changed.
        weights: of each network, as one vector.
    """

    def __init__(self, model: NetworkRecommender, weights: list[torch.Tensor]) -> None:
        super().__init__()
        self.USER_ID, self.ITEM_ID, self.device = model.USER_ID, model.ITEM_ID, model.device
        self.n_users, self.n_items, self.graph = model.n_users, model.n_items, model.graph
        self.members = [copy.deepcopy(model, {id(model.graph): model.graph}) for _ in weights]
        for member, vector in zip(self.members, weights):
            vector_to_parameters(vector.to(model.device), member.weights().values())
            member.eval()

    def predict(self, interaction: Interaction) -> torch.Tensor:
        """Scores of the interaction's pairs, shape ``(B,)``."""
        return torch.stack([member.predict(interaction) for member in self.members]).mean(dim=0)

    def full_sort_predict(self, interaction: Interaction) -> torch.Tensor:
        """Scores of all items for the interaction's users, shape ``(B * n_items,)``."""
        total = self.members[0].full_sort_predict(interaction)
        for member in self.members[1:]:
            total = total + member.full_sort_predict(interaction)
        return total / len(self.members)
