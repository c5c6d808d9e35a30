"""The contract of recommenders that are networks: their state is weights, their input what remains of a user."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.utils import InputType
from typing_extensions import Self

from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import OTHER_KINDS
from recbole_unlearn.model.recommender import Recommender
from recbole_unlearn.settings import Settings, setting

BLOCK = 2**22  # scores held at a time: 16 MiB


class NetworkSettings(Settings):
    """What serves a network"""

    unlearn_methods: list[str] | str = setting(["Retrain", "FineTune", "DropEdges"], "Methods, or `all` that can.")


class NetworkRecommender(Recommender):
    """A RecBole recommender whose state is the weights of a network and that reads a user's interactions as its input.

    Put it before RecBole's class among the bases. Implement :meth:`examples`, what a training draws its batches from,
    :meth:`losses`, and :meth:`logits`. They read interactions from nothing but ``self.graph`` (or from what
    :meth:`set_graph` makes of it), so that a model that is put on the remaining graph neither reads nor learns a
    forgotten one. In ``__init__``, call ``self.set_graph(dataset_graph(dataset))`` last.

    A score is the logarithm of the probability of an item among all: the constant that a softmax leaves open differs
    from user to user, and forgotten pairs are of many users.
    """

    settings: type[Settings] = NetworkSettings
    trait = "network that reads a user's interactions"
    input_type = InputType.POINTWISE
    gives_logits = False
    examples_at_a_time = 1024  # whose second derivatives are held

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a class whose input a graph does not hold.

        Raises:
            UsageError: names the class and its kind.
        """
        super().__init_subclass__(**options)
        for base, kind in OTHER_KINDS.items():
            if issubclass(cls, base):
                raise UsageError(
                    f"{cls.__name__} is {kind}; a network reads a graph, which has no features, and an OrderedNetwork "
                    "the order of its edges."
                )

    def examples(self) -> torch.Tensor:
        """What a training on ``self.graph`` passes once an epoch, by number, shape ``(n,)``; by default its users."""
        return torch.unique(self.graph.users)

    def batch(self, examples: torch.Tensor) -> Interaction:
        """Some examples in the fields of :meth:`losses`; by default users."""
        return Interaction({self.USER_ID: examples})

    def losses(self, interaction: Interaction) -> torch.Tensor:
        """The loss of each example of a batch, shape ``(B,)``, twice differentiable.

        Training draws what is random from torch's global generator; in evaluation mode nothing may be random.

        Args:
            interaction: a :meth:`batch`.
        """
        raise NotImplementedError

    def logits(self, users: torch.Tensor) -> torch.Tensor:
        """The network's outputs for all items, shape ``(B, n_items)``, for users of shape ``(B,)``, differentiable."""
        raise NotImplementedError

    def set_graph(self, graph: Graph) -> None:
        self.graph = graph.to(self.device)

    def on_graph(self, graph: Graph) -> Self:
        model = copy.deepcopy(self, {id(self.graph): self.graph})
        model.set_graph(graph)
        return model.eval()

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """What gradients train, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    @torch.no_grad()
    def revised(self, weights: Mapping[str, torch.Tensor], graph: Graph) -> Self:
        """A copy of this model with other weights, on another graph; this one stays as it is.

        Args:
            weights: by the names of :meth:`weights`.
            graph: e.g. what remains after a request.
        """
        model = self.on_graph(graph)
        for name, weight in model.weights().items():
            weight.copy_(weights[name])
        return model

    def calculate_loss(self, interaction: Interaction) -> torch.Tensor:
        """RecBole's training loss: the mean of :meth:`losses`."""
        return self.losses(interaction).mean()

    @torch.no_grad()
    def scores(self, users: torch.Tensor) -> torch.Tensor:
        """The logarithms of the probabilities of all items, shape ``(B, n_items)``, for users of shape ``(B,)``."""
        size = max(1, BLOCK // self.n_items)
        return torch.cat([torch.log_softmax(self.logits(some), dim=1) for some in users.split(size)])
