"""The calibrated influence encoder: the least change of rows that gives forgotten pairs the scores of unseen pairs."""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from recbole_unlearn.data.request import Request
from recbole_unlearn.encoder.least_change import LeastChange
from recbole_unlearn.encoder.local import LocalTable, is_local, is_small
from recbole_unlearn.encoder.response import layers_response, own_map, readout_response
from recbole_unlearn.encoder.snapshot import Snapshot
from recbole_unlearn.encoder.target import UnseenScores
from recbole_unlearn.encoder.touched import Touched
from recbole_unlearn.encoder.whole import WholeTable
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.settings import Count, Positive, Settings, setting
from recbole_unlearn.solver import accelerated


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
        cls,
        model: UnlearnableRecommender,
        snapshot: Snapshot,
        scores: UnseenScores,
        generator: torch.Generator,
        **closing: Any,
    ) -> "CalibratedEncoder":
        """Prepare for a model's requests.

        Args:
            model: trained.
            snapshot: of the model.
            scores: what the model would give pairs that it never saw.
            generator: makes all draws.
            **closing: ``weight`` and ``passes``, e.g. from :func:`closing_settings`.
        """
        own = own_map(model, generator)
        if own is None and snapshot.weights:
            response = layers_response(snapshot.weights, snapshot.graph.adjacency, model.table_shape[1], generator)
        else:
            response = readout_response(model, generator, own)
        return cls(scores, *response, **closing, own=own)

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
    def __call__(
        self, model: UnlearnableRecommender, remaining: Graph, request: Request, snapshot: Snapshot | None = None
    ) -> Revision:
        """The revision of a model's table for a request.

        A request that changes little of the graph costs what it touches (:class:`~recbole_unlearn.encoder.local.
        LocalTable`); another looks at all of what remains (:class:`~recbole_unlearn.encoder.whole.WholeTable`).

        Args:
            model: before the request.
            remaining: its graph without the request, on its device.
            request: what to forget; edges of the model's graph.
            snapshot: of the model, if it is there already.

        Returns:
            Rows of nodes that lose their last edge are unchanged; the caller replaces them.

        Raises:
            ValueError: a pair of the request is no edge.
        """
        touched = Touched(model.graph, request.users.to(model.device), request.items.to(model.device))
        nodes, n_users, degrees = touched.nodes, touched.n_users, touched.degrees
        if snapshot is None and is_small(touched):
            snapshot = Snapshot.of(model)
        ego = model.ego_embeddings() if snapshot is None else snapshot.layers[0]
        table: LocalTable | WholeTable
        if snapshot is not None and is_local(snapshot, touched):
            table = LocalTable(snapshot, touched, self.own)
        else:
            table = WholeTable(model, remaining, touched, self.own)
        row_response, spread_cost = self.row_response[nodes], self.spread_cost[nodes]
        matters = (degrees[touched.of_user] > 0) & (degrees[touched.of_item] > 0)
        of_user, of_item = touched.of_user[matters], touched.of_item[matters]

        start = rows = ego.index_select(0, nodes)
        limit = before = None
        for _ in range(self.passes):
            targets = self.scores(table.features(rows - start))
            final, inverses = table.final(rows)
            scores = (final[touched.of_user] * final[touched.of_item]).sum(dim=1)
            limit = scores if limit is None else limit  # forgetting a pair raises no score
            seen_from_rows = final if self.own is None else final @ self.own
            metric = LeastChange(seen_from_rows, n_users, inverses, degrees, row_response, spread_cost)
            gaps = scores - torch.minimum(targets, limit)
            change = metric(of_user, of_item, gaps[matters], self.weight)
            before, rows = (rows, change), accelerated(rows, change, before)
        return Revision(ego.index_copy(0, nodes, rows), targets, matters)


def closing_settings(config: Any) -> dict[str, Any]:
    """The scalar settings of :class:`CalibratedEncoder`, from a run's configuration."""
    return {
        "weight": config["ie_change_weight"],
        "passes": config["ie_passes"],
    }


class CalibratedTable(nn.Module):
    """A revised table for fine-tuning, with the interface of an InfluenceEncoder.

    Args:
        revision: the initial table, which this module then owns, and the targets.
        final: final embeddings of the original model, shape ``(N, d)``; other pairs keep their scores.
    """

    targets: torch.Tensor
    matters: torch.Tensor
    final: torch.Tensor

    def __init__(self, revision: Revision, final: torch.Tensor) -> None:
        super().__init__()
        self.ego = nn.Parameter(revision.ego)
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
