"""What the pipeline needs of a recommender of any kind, and the registry of all of them."""

from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from typing_extensions import Self

from recbole_unlearn.graph import Graph
from recbole_unlearn.registry import Registry
from recbole_unlearn.settings import Settings

MODELS: "Registry[Recommender]" = Registry("model")
BLOCK = 2**24  # scores held at a time: 128 MiB in double precision


class Recommender(GeneralRecommender):
    """A RecBole general recommender with weights that are made from a graph, and with a graph that it serves on.

    It has three kinds: an :class:`~recbole_unlearn.model.base.UnlearnableRecommender` trains a table by gradients, an
    :class:`~recbole_unlearn.model.exact.ExactRecommender` is fitted, and a
    :class:`~recbole_unlearn.model.network.NetworkRecommender` trains a network that reads the graph.
    """

    settings: type[Settings] = Settings
    trait = "weights made from a graph"  # what a class has that a method may need; for messages
    weights_beyond_table: tuple[str, ...] = ()  # trained ones that a revision of rows leaves as they are
    graph: Graph
    gives_logits = True  # whether the sigmoid of a score is the probability of a pair

    def set_graph(self, graph: Graph) -> None:
        """Make the model predict on this graph."""
        raise NotImplementedError

    def on_graph(self, graph: Graph) -> Self:
        """A copy with the same weights on another graph; this model stays as it is."""
        raise NotImplementedError

    def make_ready(self) -> None:
        """Compute what the model needs to serve; by default nothing."""

    def served(self, graph: Graph) -> Self:
        """A copy of this model as a service holds it: on this graph object, and ready."""
        model = self.on_graph(graph)
        model.make_ready()
        return model

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        """Scores of all items for some users.

        Args:
            users: ids, shape ``(B,)``.

        Returns:
            Shape ``(B, n_items)``.
        """
        raise NotImplementedError

    def stored_settings(self) -> dict[str, Any]:
        """The settings that a file of this model needs besides those of its run."""
        return {}

    @torch.no_grad()
    def predict(self, interaction: Interaction) -> torch.Tensor:
        """Scores of the interaction's pairs, shape ``(B,)``, in double precision; by default some of :meth:`scores`."""
        users, place = torch.unique(interaction[self.USER_ID], return_inverse=True)
        scores = torch.empty(len(place), dtype=torch.float64, device=users.device)
        size = max(1, BLOCK // self.n_items)
        for start in range(0, len(users), size):
            here = ((place >= start) & (place < start + size)).nonzero().squeeze(1)
            of_users = self.scores(users[start : start + size])
            scores[here] = of_users[place[here] - start, interaction[self.ITEM_ID][here]].double()
        return scores

    def full_sort_predict(self, interaction: Interaction) -> torch.Tensor:
        """Scores of all items for the interaction's users, shape ``(B * n_items,)``."""
        return self.scores(interaction[self.USER_ID]).reshape(-1)
