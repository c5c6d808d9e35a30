"""The calibrated influence encoder: the least change of rows that gives forgotten pairs the scores of unseen pairs."""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from recbole_unlearn.data.request import Request
from recbole_unlearn.encoder.response import own_map, readout_response
from recbole_unlearn.encoder.spectrum import Spectrum, graph_features, with_table_features
from recbole_unlearn.encoder.target import UnseenScores
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import pair_scores
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.settings import Count, Positive, Settings, setting
from recbole_unlearn.solver import accelerated, conjugate_gradient

SPREAD = 0.1  # share of the mean second moment, added to all directions: no change can hide in nearly empty ones
TOLERANCE, ITERATIONS = 0.1, 50  # of the conjugate gradient


class CalibratedSettings(Settings):
    """unseen: the encoder in closed form"""

    ie_change_weight: Positive = setting(
        0.3, "unseen: weight of a squared change of another pair's score, relative to a forgotten pair's gap."
    )
    ie_passes: Count = setting(3, "unseen: number of passes, each of which asks for the targets and closes the gaps.")


@dataclass(frozen=True)
class Revision:
    """The table after forgetting a request.

    Args:
        ego: revised 0-layer table, shape ``(N, d)``.
        targets: the score expected of each forgotten pair, had training never seen it, as asked last, shape
            ``(F,)``.
        matters: whether both ends of a pair keep other edges, boolean, shape ``(F,)``. An end without other edges gets
            a new row, which replaces the pair's score too.
    """

    ego: torch.Tensor
    targets: torch.Tensor
    matters: torch.Tensor


@dataclass(eq=False)
class CalibratedEncoder:
    r"""Maps a request to a revised table in closed form: the request's graph, weighted by what each pair remembers.

    The gap :math:`g` of a forgotten pair is its score without its edge, minus the score expected of an unseen pair
    (:class:`~recbole_unlearn.encoder.target.UnseenScores`), or 0 if that is higher. To first order, moving the rows of
    its ends by :math:`\delta` changes its score by :math:`a_u \delta_u \cdot z_i + a_i \delta_i \cdot z_u`. The
    revision adds up such moves of a few passes, each with new gaps and new expectations, and a secant says how far each
    goes (:func:`~recbole_unlearn.solver.accelerated`). A pass moves by

    .. math::
        \arg\min_\delta \sum_{(u,i)} (g_{ui} + \Delta s_{ui})^2 + \nu \sum_v 2 d_v c_v \, \delta_v^\top C_v \delta_v,

    The second term is the squared change of the scores of each node's :math:`d_v` remaining pairs and of as many
    others. :math:`C_v` is the second moment of the embeddings that the node is scored with. With P the inverse of that
    term's matrix, :math:`\delta = -P J^\top \lambda` and :math:`(J P J^\top + \nu) \lambda = g`: the embeddings,
    propagated over the request's graph with the coefficients :math:`\lambda`. A step of the conjugate gradient costs
    ``O(F d)``. With weights besides the table, z stands for :math:`M^\top z` here, as a row sees it
    (:func:`~recbole_unlearn.encoder.response.own_map`).

    Args:
        scores: the expected scores of unseen pairs.
        row_response: :math:`a_v`, the share of a change of its row that reaches a node's own embedding, shape ``(N,)``.
        spread_cost: :math:`c_v`, the squared change of all embeddings for a unit change of a row, shape ``(N,)``.
        weight: :math:`\nu`.
        passes: how often the encoder asks for the targets, measures the gaps and closes them, at least once. A further
            pass mends the first order's error, closes what ``weight`` left open, and asks rows that have moved.
        own: M, shape ``(D, d)``; ``None`` for the identity.
    """

    scores: UnseenScores
    row_response: torch.Tensor
    spread_cost: torch.Tensor
    weight: float
    passes: int
    own: torch.Tensor | None = None

    @classmethod
    def fit(
        cls, model: UnlearnableRecommender, scores: UnseenScores, generator: torch.Generator, **closing: Any
    ) -> "CalibratedEncoder":
        """Prepare for a model's requests.

        Args:
            model: trained.
            scores: what the model would give pairs that it never saw.
            generator: makes all draws.
            **closing: ``weight`` and ``passes``, e.g. from :func:`closing_settings`.
        """
        own = own_map(model, generator)
        return cls(scores, *readout_response(model, generator, own), **closing, own=own)

    def without(self, lost: torch.Tensor) -> "CalibratedEncoder":
        """The encoder without what it knows of the nodes where ``lost`` (boolean, shape ``(N,)``) holds."""
        return replace(
            self,
            row_response=self.row_response.masked_fill(lost, 0),
            spread_cost=self.spread_cost.masked_fill(lost, 0),
        )

    def to_plain(self) -> dict[str, Any]:
        """What the fit produced, as tensors, text and numbers for a file."""
        plain = {"gain": self.row_response, "cost": self.spread_cost, "scores": self.scores.to_plain()}
        return plain if self.own is None else {**plain, "own": self.own}

    @classmethod
    def from_plain(cls, state: dict[str, Any], **closing: Any) -> "CalibratedEncoder":
        """The inverse of :meth:`to_plain`; settings as in :meth:`fit`."""
        scores = UnseenScores.from_plain(state["scores"])
        return cls(scores, state["gain"], state["cost"], **closing, own=state.get("own"))

    @torch.no_grad()
    def __call__(self, model: UnlearnableRecommender, remaining: Graph, request: Request) -> Revision:
        """The revision of a model's table for a request.

        Args:
            model: before the request.
            remaining: its graph without the request, on its device.
            request: what to forget.

        Returns:
            Rows of nodes that lose their last edge are unchanged; the caller replaces them.
        """
        n_users, users, items = remaining.n_users, request.users.to(model.device), request.items.to(model.device)
        ego, degrees, adjacency = model.ego_embeddings(), remaining.degrees(), remaining.adjacency
        matters = (degrees[users] > 0) & (degrees[items + n_users] > 0)
        spectrum = Spectrum.of(remaining)
        of_graph = graph_features(remaining, spectrum, users, items)
        limit = before = None
        for _ in range(self.passes):
            targets = self.scores(with_table_features(of_graph, spectrum, ego, users, items))
            final = model.forward(ego, adjacency)
            scores = pair_scores(final, n_users, users, items)
            limit = scores if limit is None else limit  # forgetting a pair raises no score
            seen_from_rows = final if self.own is None else final @ self.own
            metric = LeastChange(seen_from_rows, degrees, n_users, self.row_response, self.spread_cost)
            gaps = scores - torch.minimum(targets, limit)
            touched, change = metric.least_change(users[matters], items[matters], gaps[matters], self.weight)
            rows = ego.index_select(0, touched)
            ego = ego.index_copy(0, touched, accelerated(rows, change, before))
            before = rows, change
        return Revision(ego, targets, matters)


def closing_settings(config: Any) -> dict[str, Any]:
    """The scalar settings of :class:`CalibratedEncoder`, from a run's configuration."""
    return {
        "weight": config["ie_change_weight"],
        "passes": config["ie_passes"],
    }


class CalibratedTable(nn.Module):
    """A revised table for fine-tuning, with the interface of an InfluenceEncoder.

    Args:
        revision: the initial table and the targets.
        final: final embeddings of the original model, shape ``(N, d)``; other pairs keep their scores.
    """

    targets: torch.Tensor
    matters: torch.Tensor
    final: torch.Tensor

    def __init__(self, revision: Revision, final: torch.Tensor) -> None:
        super().__init__()
        self.ego = nn.Parameter(revision.ego.clone())
        self.register_buffer("targets", revision.targets)
        self.register_buffer("matters", revision.matters)
        self.register_buffer("final", final)

    def forward(self, task: Any) -> torch.Tensor:
        """The table, shape ``(N, d)``; made for one task, it looks at none."""
        return self.ego

    def unlearning_loss(self, scores: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """``L_U``: mean Huber distance of the scores of the forgotten pairs at positions ``drawn`` to their targets."""
        distance = F.smooth_l1_loss(scores, self.targets[drawn], reduction="none")
        return (distance * self.matters[drawn]).mean()


class LeastChange:
    """The cheapest move of rows that closes given gaps; its cost is the change of the nodes' other scores.

    Args:
        final: final embeddings as a row sees them, shape ``(N, d)``.
        degrees: remaining pairs of each node, shape ``(N,)``.
        n_users: nodes that are users.
        row_response, spread_cost: see :class:`CalibratedEncoder`.
    """

    def __init__(
        self,
        final: torch.Tensor,
        degrees: torch.Tensor,
        n_users: int,
        row_response: torch.Tensor,
        spread_cost: torch.Tensor,
    ) -> None:
        self.final, self.n_users, self.row_response = final, n_users, row_response
        smallest = torch.finfo(final.dtype).tiny
        self.step = torch.where(degrees > 0, row_response / (2 * degrees * spread_cost).clamp(min=smallest), 0)
        sides = [n_users, len(final) - n_users]
        self.moments = [second_moment(*side) for side in zip(final.split(sides), degrees.split(sides))]

    def least_change(
        self, users: torch.Tensor, items: torch.Tensor, gaps: torch.Tensor, weight: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The nodes of pairs with gaps of shape ``(F,)``, ascending, and the change of their rows, shape ``(T, d)``."""
        ends = torch.cat([users, items + self.n_users])  # of pair p: its user at p, its item at F + p
        touched, row = torch.unique(ends, return_inverse=True)
        of_users, of_items = self.final.index_select(0, ends).chunk(2)
        others = torch.cat([of_items, of_users])  # the other end of each end's pair
        user_moment, item_moment = self.moments
        whitened = torch.cat(
            [torch.linalg.solve(item_moment, of_items.t()).t(), torch.linalg.solve(user_moment, of_users.t()).t()]
        )
        step, response = self.step[touched][:, None], self.row_response[ends]

        def moves(coefficients):
            """``P J^T`` times the pairs' coefficients: the moves of the touched rows."""
            scaled = coefficients.repeat(2)[:, None] * whitened
            return torch.zeros(len(touched), scaled.shape[1]).to(scaled).index_add_(0, row, scaled).mul_(step)

        def product(coefficients):
            """``(J P J^T + nu)`` times coefficients."""
            changes = response * (moves(coefficients).index_select(0, row) * others).sum(dim=1)
            return changes.view(2, -1).sum(dim=0) + weight * coefficients

        # The diagonal of J P J^T.
        own = (response[:, None] * step[row] * whitened * others).sum(dim=1).view(2, -1).sum(dim=0)
        scale = (own + weight + torch.finfo(own.dtype).tiny).rsqrt()  # Jacobi's preconditioner
        scaled, _, _ = conjugate_gradient(lambda x: scale * product(scale * x), scale * gaps, TOLERANCE, ITERATIONS)
        return touched, -moves(scale * scaled)


def second_moment(embeddings: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """``C`` of one side: half over its pairs, half over all its nodes, plus a spread that makes it invertible.

    Args:
        embeddings: of the side's nodes, padding first, shape ``(M, d)``.
        counts: pairs of each node, shape ``(M,)``.

    Returns:
        Shape ``(d, d)``, positive definite.
    """
    of_nodes = torch.full_like(embeddings[:, 0], 1 / max(1, len(embeddings) - 1))
    of_nodes[:1] = 0  # padding
    weights = (counts / counts.sum().clamp(min=1) + of_nodes) / 2
    moment = (embeddings * weights[:, None]).t() @ embeddings
    spread = SPREAD * moment.trace() / len(moment) + torch.finfo(moment.dtype).eps
    return moment + spread * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
