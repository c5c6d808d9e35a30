"""The contract that makes a RecBole recommender unlearnable."""

import copy
import inspect
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import ContextRecommender, KnowledgeRecommender, SequentialRecommender

from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import bpr_loss, pair_scores
from recbole_unlearn.model.recommender import MODELS, Recommender

OTHER_KINDS = {
    SequentialRecommender: "a sequential recommender, whose input is a user's past",
    ContextRecommender: "a context-aware recommender, which scores features",
    KnowledgeRecommender: "a knowledge-based recommender, whose input is a knowledge graph too",
}
ROWS = 2**14  # of a table that are compared at a time
HOOKS = ("regulariser", "self_supervised_loss", "draw_views", "views_of", "training_forward", "model_loss")


class View(Protocol):
    """What a loss looks at besides the table: a :class:`~recbole_unlearn.graph.Graph`, or anything else of a graph."""

    def without(self, users: torch.Tensor, items: torch.Tensor) -> "View":
        """The same view after forgetting these edges; ignores pairs that are not edges."""


class UnlearnableRecommender(Recommender):
    """A RecBole general recommender that trains a table, and perhaps weights besides, and whose input is a graph.

    Put it before RecBole's class among the bases and implement :meth:`forward`, pure in both arguments: one call gives
    the same model on another graph or with another table. The loss is BPR (Rendle et al., UAI 2009) plus, if you
    implement them, :meth:`regulariser` and :meth:`self_supervised_loss` with its :meth:`draw_views`. A model that
    trains on other embeddings than it scores by overrides :meth:`training_forward`. A model with another loss overrides
    :meth:`model_loss`; influence methods that take BPR apart refuse it, and the others differentiate it twice. A loss
    that treats columns of the table alike (by ``bpr_loss``, ``info_nce`` and :mod:`recbole_unlearn.columns`) can be
    trained by several processes.

    The class expects the embeddings as ``user_embedding`` and ``item_embedding`` (``nn.Embedding``). A model that keeps
    them elsewhere also overrides :meth:`ego_embeddings` and :meth:`set_ego_embeddings`. In ``__init__``, call
    ``self.set_graph(dataset_graph(dataset))`` last. Everything that RecBole needs of a model (``calculate_loss``,
    ``predict``, ``full_sort_predict``) follows from these. Declare the model's own settings, and RecBole's with another
    default, as ``settings``.

    A model that trains weights besides the table names them, modules or parameters, in ``weights_beyond_table``. A
    forward that drops out does so in training mode only.
    """

    trait = "table of users and items that gradients train"
    weights_beyond_table: tuple[str, ...] = ()  # e.g. ("layers", "scale")
    n_candidates: int | None = None  # of a contrastive loss: so many stand for all; None takes all
    epochs_of_views: int | None = 1  # that share the views; None: all, as the graph alone decides what they are
    epoch: int | None = None  # of the training, from 0; its trainer sets it, and None is outside of one
    _views: list[Any] | None  # drawn by train()
    _adjacency: torch.Tensor | None = None
    _final: torch.Tensor | None
    _item_columns: torch.Tensor | None = None  # of the final embeddings, shape (d, n_items)

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a class of another kind, and one whose part of the loss does not take what the loss gives it.

        Raises:
            UsageError: as above; the message names the kind, or the method and its arguments.
        """
        super().__init_subclass__(**options)
        for base, kind in OTHER_KINDS.items():
            if issubclass(cls, base):
                raise UsageError(
                    f"{cls.__name__} is {kind}; the methods revise a table of users and items, so they serve general "
                    "recommenders."
                )
        for name in HOOKS:
            names = inspect.signature(getattr(UnlearnableRecommender, name)).parameters
            try:
                inspect.signature(getattr(cls, name)).bind(*names)
            except TypeError as error:
                raise UsageError(f"{cls.__name__} must define {name}({', '.join(names)}): {error}.") from None

    def forward(self, ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        """Final embeddings of all nodes.

        Args:
            ego: 0-layer table ``E0``, shape ``(N, d)``, users first.
            adjacency: normalised sparse CSR adjacency, shape ``(N, N)``.

        Returns:
            ``Z``, shape ``(N, D)``, mostly ``D = d``; the score of a pair is the dot product of its rows.
        """
        raise NotImplementedError

    def regulariser(self, ego: torch.Tensor, occurrences: torch.Tensor) -> torch.Tensor | float:
        """The term of the loss that keeps the table small, a scalar; 0 by default.

        Args:
            ego: 0-layer table, shape ``(N, d)``.
            occurrences: how often each node is a user, an item and a negative item of the batch, shape
                ``(3, N)``, of ``ego``'s dtype.
        """
        return 0.0

    def self_supervised_loss(
        self, ego: torch.Tensor, final: torch.Tensor, occurrences: torch.Tensor, views: list[Any]
    ) -> torch.Tensor | float:
        """The term of the loss that contrasts or couples embeddings, a scalar; 0 by default.

        Args:
            ego, occurrences: see :meth:`regulariser`.
            final, views: what :meth:`training_forward` returned.
        """
        return 0.0

    def draw_views(self, graph: Graph) -> list[Any]:
        """What the model's own loss takes of the graph besides, each a :class:`View`; none by default.

        E.g. random subgraphs, or a factorisation. A training draws them at the start of every ``epochs_of_views``
        epochs, from torch's global generator, which views of all epochs must leave alone.

        Args:
            graph: of the training, on the model's device.
        """
        return []

    def views_of(self, graph: Graph, ego: torch.Tensor) -> list[Any]:
        """The same of the graph and the table, e.g. clusters of its rows; by default :meth:`draw_views`.

        Args:
            graph: see :meth:`draw_views`.
            ego: 0-layer table, shape ``(N, d)``; with several processes, this one's columns of it.
        """
        return self.draw_views(graph)

    def training_forward(
        self, ego: torch.Tensor, adjacency: torch.Tensor, views: list[Any]
    ) -> tuple[torch.Tensor, list[Any]]:
        """The final embeddings and the views that a batch's loss is of, by default :meth:`forward` and these views.

        Args:
            ego, adjacency: see :meth:`forward`.
            views: what :meth:`views_of` returned for the same graph.
        """
        return self.forward(ego, adjacency), views

    def model_loss(
        self, interaction: Interaction, ego: torch.Tensor, final: torch.Tensor, views: list[Any]
    ) -> torch.Tensor:
        """The model's own training loss, as a mean over the batch.

        Args:
            interaction: users, items and negative items of ``B`` pairs.
            ego: 0-layer table, shape ``(N, d)``.
            final, views: what :meth:`training_forward` returned, ``final`` of shape ``(N, d)``.

        Returns:
            Scalar.
        """
        users = interaction[self.USER_ID]
        items, negatives = (interaction[field] + self.n_users for field in (self.ITEM_ID, self.NEG_ITEM_ID))
        bpr = bpr_loss(final, users, items, negatives)
        occurrences = torch.stack([torch.bincount(n, minlength=len(ego)) for n in (users, items, negatives)]).to(
            ego.dtype
        )
        return bpr + self.regulariser(ego, occurrences) + self.self_supervised_loss(ego, final, occurrences, views)

    def ego_embeddings(self) -> torch.Tensor:
        """The 0-layer table ``E0``, shape ``(N, d)``, users first, differentiable."""
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight])

    @cached_property
    def table_shape(self) -> tuple[int, int]:
        """The shape of the 0-layer table, ``(N, d)``."""
        n_nodes, width = self.ego_embeddings().shape
        return n_nodes, width

    def named_weights(self) -> dict[str, torch.nn.Parameter]:
        """The trained parameters besides the table, by name: those that ``weights_beyond_table`` names."""
        parts = tuple(f"{part}." for part in self.weights_beyond_table)
        return {name: weight for name, weight in self.named_parameters() if f"{name}.".startswith(parts)}

    @torch.no_grad()
    def set_ego_embeddings(self, ego: torch.Tensor) -> None:
        """Copy a table of shape ``(N, d)`` into the model."""
        users, items = ego.split([self.n_users, self.n_items])
        self.user_embedding.weight.copy_(users)
        self.item_embedding.weight.copy_(items)
        self._forget_final()

    def set_graph(self, graph: Graph) -> None:
        """Make the model train and predict on this graph."""
        self.graph = graph.to(self.device)
        self._views = self._adjacency = None
        self._forget_final()

    @property
    def adjacency(self) -> torch.Tensor:
        """The normalised adjacency of :attr:`graph`, made when it is first asked for; another until the next graph."""
        return self.graph.adjacency if self._adjacency is None else self._adjacency

    @adjacency.setter
    def adjacency(self, adjacency: torch.Tensor) -> None:
        self._adjacency = adjacency

    @torch.no_grad()
    def revised(
        self, ego: torch.Tensor, graph: Graph, weights: Mapping[str, torch.Tensor] | None = None
    ) -> "UnlearnableRecommender":
        """A copy of this model with another table, on another graph; this one stays as it is.

        Args:
            ego: shape ``(N, d)``.
            graph: e.g. what remains after a request.
            weights: new values of :meth:`named_weights`; those that are missing stay.
        """
        shared = (self.graph, self._adjacency, self._views, self._final, self._item_columns)
        memo: dict[int, Any] = {id(x): None for x in shared if x is not None}
        if type(self).set_ego_embeddings is UnlearnableRecommender.set_ego_embeddings:  # which writes all of these
            weights_of_table = self.user_embedding.weight, self.item_embedding.weight
            memo |= {
                id(weight): torch.nn.Parameter(torch.empty_like(weight), weight.requires_grad)
                for weight in weights_of_table
            }
        model = copy.deepcopy(self, memo)
        model.set_graph(graph)
        model.set_ego_embeddings(ego)
        for name, weight in (weights or {}).items():
            model.get_parameter(name).copy_(weight)
        return model.eval()

    def on_graph(self, graph: Graph) -> "UnlearnableRecommender":
        return self.revised(self.ego_embeddings(), graph)

    def make_ready(self) -> None:
        self.final_embeddings()

    def stored_settings(self) -> dict[str, Any]:
        """The width of the table, unless the class is a user's own: nobody knows how wide its table is."""
        return {} if MODELS.own([type(self).__name__]) else {"embedding_size": self.ego_embeddings().shape[1]}

    @torch.no_grad()
    def final_embeddings(self) -> torch.Tensor:
        """``Z`` of the model's own table and graph, shape ``(N, D)``, kept until the next training step."""
        if self._final is None:
            training = self.training
            super().train(False)  # scores drop nothing out, even between two steps of a training
            self._final = self.forward(self.ego_embeddings(), self.adjacency)
            super().train(training)
        return self._final

    @torch.no_grad()
    def is_linear(self) -> bool:
        """Whether final embeddings are linear in the table, as far as its own table tells."""
        ego = self.ego_embeddings()
        expected = self.forward(ego, self.adjacency) + self.forward(torch.ones_like(ego), self.adjacency)
        blocks = zip(self.forward(ego + 1, self.adjacency).split(ROWS), expected.split(ROWS))
        return all(torch.allclose(of_both, of_each, rtol=1e-3, atol=1e-4) for of_both, of_each in blocks)

    def train(self, mode: bool = True) -> "UnlearnableRecommender":
        """Draw fresh views, if this epoch has some of its own: RecBole calls this at the start of each epoch."""
        if mode:
            self._forget_final()
            every = self.epochs_of_views
            if self._views is None or (every is not None and (self.epoch or 0) % every == 0):
                self._views = self.views_of(self.graph, self.ego_embeddings().detach())
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load the weights and drop the final embeddings of the old ones."""
        self._forget_final()
        return super().load_state_dict(*args, **kwargs)

    def calculate_loss(self, interaction: Interaction) -> torch.Tensor:
        """RecBole's training loss: :meth:`model_loss` on the model's own table and graph."""
        self._forget_final()
        assert self._views is not None, "call train() first: it draws the views"
        ego = self.ego_embeddings()
        return self.model_loss(interaction, ego, *self.training_forward(ego, self.adjacency, self._views))

    def predict(self, interaction: Interaction) -> torch.Tensor:
        """Scores of the interaction's pairs, shape ``(B,)``."""
        pairs = interaction[self.USER_ID], interaction[self.ITEM_ID]
        return pair_scores(self.final_embeddings(), self.n_users, *pairs)

    @torch.no_grad()
    def scores(self, users: torch.Tensor) -> torch.Tensor:
        final = self.final_embeddings()
        if self._item_columns is None:
            self._item_columns = final[self.n_users :].t().contiguous()  # as rows, products take half as long again
        return final[users] @ self._item_columns

    def _forget_final(self):
        self._final = self._item_columns = None
