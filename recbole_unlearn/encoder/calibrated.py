"""The calibrated influence encoder: the least change of rows that takes forgotten pairs to what pairs never seen score."""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from recbole_unlearn.data.request import Request
from recbole_unlearn.encoder.target import UnseenScores, inductive_features, propagated_layers
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import pair_scores
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.solver import conjugate_gradient

SPREAD = 0.1  # of the mean second moment, added to all directions: a change cannot hide in nearly empty ones
TOLERANCE, ITERATIONS = 0.1, 50  # of the conjugate gradient
N_PROBES = 256  # of each side


@dataclass(frozen=True)
class Revision:
    """What forgetting a request makes of a table.

    Args:
        ego: revised 0-layer table, shape ``(N, d)``.
        targets: the expected score of each forgotten pair had it never been seen, shape ``(F,)``.
        matters: boolean; whether both ends of a pair keep other edges, shape ``(F,)``; where one does not, its
            row is replaced as a whole, and the pair with it.
    """

    ego: torch.Tensor
    targets: torch.Tensor
    matters: torch.Tensor


@dataclass(eq=False)
class CalibratedEncoder:
    r"""Maps a request to a revised table in closed form: the request's graph, weighted by what each pair remembers.

    The gap :math:`g` of a forgotten pair is its score without its edge, less the score that it would have had
    (:class:`~recbole_unlearn.encoder.target.UnseenScores`), where that is positive. To first order, moving the rows of its ends by
    :math:`\delta` changes its score by :math:`a_u \delta_u \cdot z_i + a_i \delta_i \cdot z_u`. The revision is

    .. math::
        \arg\min_\delta \sum_{(u,i)} (g_{ui} + \Delta s_{ui})^2 + \nu \sum_v 2 d_v c_v \, \delta_v^\top C_v \delta_v,

    where the second term is the squared change of the scores of each node's :math:`d_v` remaining pairs and of as many
    others, :math:`C_v` being the second moment of the embeddings that it is scored with. With P the inverse of that term's
    matrix, :math:`\delta = -P J^\top \lambda` and :math:`(J P J^\top + \nu) \lambda = g`: the embeddings, propagated over
    the request's graph with the coefficients :math:`\lambda`. A step of the conjugate gradient costs ``O(F d)``.

    Args:
        scores: of pairs never seen.
        gain: :math:`a_v`, how much of a change of its row reaches a node's own embedding, shape ``(N,)``.
        cost: :math:`c_v`, the squared change of all embeddings for a unit change of a row, shape ``(N,)``.
        weight: :math:`\nu`.
        passes: times that gaps are measured and closed; a further pass mends what the first order left out.
        target_passes: of the passes, those that ask for the targets; later ones keep the last.
    """

    scores: UnseenScores
    gain: torch.Tensor
    cost: torch.Tensor
    weight: float
    passes: int
    target_passes: int

    @classmethod
    def fit(
        cls, model: UnlearnableRecommender, held_out: Graph, generator: torch.Generator, **closing: float
    ) -> "CalibratedEncoder":
        """Prepare for a model's requests.

        Args:
            model: trained.
            held_out: positives that it was not trained on.
            generator: of all draws.
            **closing: ``weight``, ``passes`` and ``target_passes``, as of :func:`closing_settings`.
        """
        return cls(UnseenScores.fit(model, held_out, generator), *response(model, generator), **closing)

    def without(self, lost: torch.Tensor) -> "CalibratedEncoder":
        """The encoder with nothing left of some nodes, a boolean of shape ``(N,)``."""
        return replace(self, gain=self.gain.masked_fill(lost, 0), cost=self.cost.masked_fill(lost, 0))

    def to_plain(self) -> dict[str, Any]:
        """What was fitted, as tensors, text and numbers to be kept in a file."""
        return {"gain": self.gain, "cost": self.cost, "scores": self.scores.to_plain()}

    @classmethod
    def from_plain(cls, state: dict[str, Any], **closing: float) -> "CalibratedEncoder":
        """What :meth:`to_plain` gave, with settings of its own; see :meth:`fit`."""
        return cls(UnseenScores.from_plain(state["scores"]), state["gain"], state["cost"], **closing)

    @torch.no_grad()
    def __call__(self, model: UnlearnableRecommender, remaining: Graph, request: Request) -> Revision:
        """The revision of a model's table for a request.

        Args:
            model: before the request.
            remaining: its graph without the request, on its device.
            request: what to forget.

        Returns:
            Rows of nodes that lose their last edge stay; whoever takes the table replaces them.
        """
        n_users, users, items = remaining.n_users, request.users.to(model.device), request.items.to(model.device)
        ego, degrees, adjacency = model.ego_embeddings(), remaining.degrees(), remaining.adjacency
        matters = (degrees[users] > 0) & (degrees[items + n_users] > 0)
        limit = None
        for number in range(self.passes):
            if number < self.target_passes:
                # The rows of the forgotten pairs' neighbours learned from them, and so did the features. A revised table
                # holds less of that, so that the target is asked for again.
                features = inductive_features(propagated_layers(ego, adjacency), degrees, n_users, users, items)
                targets = self.scores(features)
            final = model.forward(ego, adjacency)
            scores = pair_scores(final, n_users, users, items)
            limit = scores if limit is None else limit  # forgetting a pair raises no score
            metric = LeastChange(final, degrees, n_users, self.gain, self.cost)
            gaps = scores - torch.minimum(targets, limit)
            ego = ego + metric.least_change(users[matters], items[matters], gaps[matters], self.weight)
        return Revision(ego, targets, matters)


def closing_settings(config: Any) -> dict[str, float]:
    """How a run's settings want gaps closed: a dict of the arguments of :class:`CalibratedEncoder` that are no tensors."""
    return {
        "weight": config["ie_change_weight"],
        "passes": config["ie_passes"],
        "target_passes": config["ie_target_passes"],
    }


class CalibratedTable(nn.Module):
    """A revised table that fine-tuning takes on from there; what an InfluenceEncoder is in the other case.

    Args:
        revision: the start, and the targets.
        final: final embeddings of the original model, shape ``(N, d)``, which other pairs' scores are held to.
    """

    def __init__(self, revision: Revision, final: torch.Tensor) -> None:
        super().__init__()
        self.ego = nn.Parameter(revision.ego.clone())
        self.register_buffer("targets", revision.targets)
        self.register_buffer("matters", revision.matters)
        self.register_buffer("final", final)

    def forward(self, forget_adjacency: torch.Tensor, touched: torch.Tensor) -> torch.Tensor:
        """The table, shape ``(N, d)``."""
        return self.ego

    def unlearning_loss(self, scores: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """``L_U``: mean Huber distance of the scores of the forgotten pairs at positions ``drawn`` to their targets."""
        distance = F.smooth_l1_loss(scores, self.targets[drawn], reduction="none")
        return (distance * self.matters[drawn]).mean()


class LeastChange:
    """What moving a node's row costs in the scores of its other pairs, and the cheapest move that closes given gaps.

    Args:
        final: final embeddings, shape ``(N, d)``.
        degrees: remaining pairs of each node, shape ``(N,)``.
        n_users: nodes that are users.
        gain, cost: see :class:`CalibratedEncoder`.
    """

    def __init__(
        self, final: torch.Tensor, degrees: torch.Tensor, n_users: int, gain: torch.Tensor, cost: torch.Tensor
    ) -> None:
        self.final, self.n_users, self.gain = final, n_users, gain
        smallest = torch.finfo(final.dtype).tiny
        self.step = torch.where(degrees > 0, gain / (2 * degrees * cost).clamp(min=smallest), 0)  # of a row
        sides = [n_users, len(final) - n_users]
        self.moments = [second_moment(*side) for side in zip(final.split(sides), degrees.split(sides))]

    def least_change(self, users: torch.Tensor, items: torch.Tensor, gaps: torch.Tensor, weight: float) -> torch.Tensor:
        """The change of the table for the pairs' gaps of shape ``(F,)``; shape ``(N, d)``."""
        ends = torch.cat([users, items + self.n_users])  # a pair has two: its user at p, its item at F + p
        touched, row = torch.unique(ends, return_inverse=True)
        of_users, of_items = self.final.index_select(0, ends).chunk(2)
        others = torch.cat([of_items, of_users])  # whom an end is scored with
        user_moment, item_moment = self.moments
        whitened = torch.cat(
            [torch.linalg.solve(item_moment, of_items.t()).t(), torch.linalg.solve(user_moment, of_users.t()).t()]
        )
        step, gain = self.step[touched][:, None], self.gain[ends]

        def moves(coefficients):
            """``P J^T`` of a coefficient a pair: the touched rows' moves."""
            scaled = coefficients.repeat(2)[:, None] * whitened
            return torch.zeros(len(touched), scaled.shape[1]).to(scaled).index_add_(0, row, scaled).mul_(step)

        def product(coefficients):
            """``(J P J^T + nu)`` times coefficients."""
            changes = gain * (moves(coefficients).index_select(0, row) * others).sum(dim=1)
            return changes.view(2, -1).sum(dim=0) + weight * coefficients

        own = (
            (gain[:, None] * step[row] * whitened * others).sum(dim=1).view(2, -1).sum(dim=0)
        )  # the diagonal of J P J^T
        scale = (own + weight + torch.finfo(own.dtype).tiny).rsqrt()  # Jacobi's preconditioner
        scaled, _, _ = conjugate_gradient(lambda x: scale * product(scale * x), scale * gaps, TOLERANCE, ITERATIONS)
        coefficients = scale * scaled
        return torch.zeros_like(self.final).index_copy_(0, touched, -moves(coefficients))


def second_moment(embeddings: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """``C``: half over the pairs that a side is in, half over all its nodes; and a spread that makes it invertible.

    Args:
        embeddings: of one side, padding first, shape ``(M, d)``.
        counts: pairs of each node, shape ``(M,)``.

    Returns:
        Shape ``(d, d)``, positive definite.
    """
    of_pairs = (embeddings * counts[:, None]).t() @ embeddings / counts.sum().clamp(min=1)
    of_nodes = embeddings[1:].t() @ embeddings[1:] / max(1, len(embeddings) - 1)
    moment = (of_pairs + of_nodes) / 2
    spread = SPREAD * moment.trace() / len(moment) + torch.finfo(moment.dtype).eps
    return moment + spread * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)


@torch.no_grad()
def response(model: UnlearnableRecommender, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """How the final embeddings answer to a row: the diagonals of R and of ``R^T R`` for a symmetric readout ``Z = R E``.

    Estimated by random signs in the place of a table (Hutchinson, 1990), whatever the model's ``forward`` is made of. Users and
    items get them apart: what leads from one side to the other, most of SimGCL's readout, has no part in the gain and
    would be its noise.

    Args:
        model: on its training graph.
        generator: of the signs.

    Returns:
        Gain and cost, shape ``(N,)`` each.
    """
    ego = model.ego_embeddings()
    gain, cost = torch.zeros(len(ego), device=ego.device), torch.zeros(len(ego), device=ego.device)
    rounds = -(-N_PROBES // ego.shape[1])
    for _ in range(rounds):
        signs = torch.randint(0, 2, ego.shape, generator=generator).to(ego) * 2 - 1
        of_users, of_items = signs.clone(), signs.clone()
        of_users[model.n_users :] = of_items[: model.n_users] = 0
        for some in (of_users, of_items):
            answer = model.forward(some, model.adjacency)
            gain += (some * answer).mean(dim=1) / rounds
            cost += answer.square().mean(dim=1) / rounds
    return gain.clamp(min=0), cost  # the diagonal of a readout of powers is positive, a noisy estimate of it may not be
