"""The common part of methods that estimate how the trained table would differ without the request."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from typing_extensions import Self

from recbole_unlearn.data.sampler import EdgeSampler
from recbole_unlearn.errors import Diverged, NoResult, reason
from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import Stage, Unlearner
from recbole_unlearn.method.influence.frozen_loss import FrozenLoss, FrozenOwnLoss, Triples
from recbole_unlearn.method.influence.point import packed, unpacked
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.solver import conjugate_gradient
from recbole_unlearn.streams import begin_stream, stream_seed


class InfluenceUnlearner(Unlearner):
    r"""Implement :meth:`solve`, which approximates :math:`H^{-1} v`.

    L is the training loss, summed over the edges of the full graph or of the remaining graph; H is its Hessian on the
    full graph. Then

    .. math::
        E_0' = E_0 + H^{-1} v, \qquad v = \nabla [L(E_0; A) - L(E_0; A_r)]

    The difference of the two losses includes the effect of the changed degrees on the retained edges. A trained model
    is not stationary, so :math:`-\nabla L(E_0; A_r)` cannot replace v.

    If the backbone trains weights besides its table, :math:`E_0` stands for both together: a point of shape ``(M, d)``
    has the table's N rows, and the weights in further ones (:func:`~recbole_unlearn.method.influence.point.packed`).

    Attributes:
        sums_bpr: whether the method needs the BPR of single edges, which a ``model_loss`` of its own need not have.
    """

    sums_bpr = False

    def solve(self, v: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        """The estimated change of the point, shape ``(M, d)``, and the stage's details.

        Args:
            v: shape ``(M, d)``.

        Raises:
            Diverged: no usable estimate.
        """
        raise NotImplementedError

    def damped_step(
        self, v: torch.Tensor, damping: float, prefix: str, rows: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """``(H + damping I)^-1 v`` by conjugate gradient, for :meth:`solve`.

        Args:
            v: shape ``(M, d)``.
            damping: added to the diagonal.
            prefix: of the settings ``PREFIX_tolerance`` and ``PREFIX_iterations``.
            rows: restrict H and v to these rows of the table, boolean of shape ``(N,)``, and to the weights besides;
                default all.
        """
        tolerance, iterations = self.config[f"{prefix}_tolerance"], self.config[f"{prefix}_iterations"]
        moves = 1 if rows is None else F.pad(rows, (0, len(v) - len(rows)), value=True)[:, None]
        estimate, steps, residual = conjugate_gradient(
            lambda x: self.hessian(x) * moves + damping * x, v * moves, tolerance, iterations
        )
        details = {"iterations": steps, "residual": f"{residual:.2f}"}
        return estimate, details if rows is None else {**details, "rows moved": int(rows.sum())}

    def trained_model(self) -> tuple[UnlearnableRecommender, float]:
        """The model to revise, by default the original, and the seconds that earlier runs spent on it."""
        return self.original, 0.0

    def prepare(self) -> float:
        self.has_own_loss = type(self.original).model_loss is not UnlearnableRecommender.model_loss
        if self.has_own_loss and self.sums_bpr:
            raise NoResult(
                f"{type(self).__name__} takes the BPR of single edges, but {type(self.original).__name__} has "
                "its own `model_loss`; leave the method out of --unlearn_methods."
            )
        self.model, seconds_before = self.trained_model()
        self.linearise()
        return seconds_before

    def linearise(self) -> None:
        """Freeze the loss at what the model trains and at its edges, which the estimate of a request starts from."""
        data, device = self.data, self.config["device"]
        graph = data.graph
        begin_stream(self.config, "negatives and views")
        negatives = EdgeSampler(data.train, graph=graph).sample_by_key_ids(graph.users, 1)
        with torch.no_grad():
            ego = self.model.ego_embeddings()
            self.point = packed(ego, self.model.named_weights().values())
        self.views = self.model.views_of(graph.to(device), ego)
        users, items, negatives = (side.to(device) for side in (graph.users, graph.items, negatives))
        self.triples = Triples(users, items, negatives, graph.n_users, graph.n_items)
        self.loss = self.frozen(graph, self.triples, self.views)
        name = type(self.original).__name__
        if isinstance(self.loss, FrozenOwnLoss) and self.loss.is_random(self.point):
            raise NoResult(f"The `model_loss` of {name} draws at random: no loss with and without a request compares.")
        try:
            self.hessian = self.loss.hessian(self.point)
        except RuntimeError as error:  # torch's, of what has no derivative
            raise NoResult(f"The loss of {name} cannot be differentiated twice: {reason(error)}") from error

    def continued(self, data: Any, model: torch.nn.Module) -> Self:
        following = super().continued(data, model)
        following.model = following.original
        following.linearise()
        return following

    def before(self) -> UnlearnableRecommender:
        return self.model

    def unlearn(self) -> Iterator[Stage]:
        v = self.change_of_gradient()
        estimate, details = self.solve(v) if v.any() else (torch.zeros_like(v), {})
        if not estimate.isfinite().all():
            raise Diverged("the estimate is not finite")
        yield Stage("", self.revised(self.model, *unpacked(self.point + estimate, self.model)), details=details)

    def change_of_gradient(self) -> torch.Tensor:
        """v, shape ``(M, d)``."""
        remaining = self.frozen(self.data.remaining_graph, self.triples.select(self.kept()), self.remaining_views())
        return self.loss.gradient(self.point) - remaining.gradient(self.point)

    def kept(self) -> torch.Tensor:
        """Whether each triple remains, boolean, shape ``(E,)``."""
        return self.data.remaining_graph.contains(self.data.graph.users, self.data.graph.items).to(self.point.device)

    def remaining_views(self) -> list[Any]:
        """The views without the request."""
        users, items = (side.to(self.point.device) for side in (self.data.request.users, self.data.request.items))
        return [view.without(users, items) for view in self.views]

    def frozen(self, graph: Graph, triples: Triples, views: list[Any], summed: Triples | None = None) -> FrozenLoss:
        """The loss of ``triples`` on a graph; BPR sums over ``summed``, by default all of them."""
        adjacency = graph.to(self.config["device"]).adjacency
        model = copy.copy(self.model)
        model.n_candidates = None  # two losses that differ by the request must not differ by a draw
        return (FrozenOwnLoss if self.has_own_loss else FrozenLoss)(
            model,
            adjacency,
            triples if summed is None else summed,
            triples.occurrences(),
            views,
            stream_seed(self.config["seed"], "self-supervised loss"),
        )
