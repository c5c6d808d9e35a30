"""A request that changes much of a graph: its outcome from all of what remains."""

from collections.abc import Sequence

import torch

from recbole_unlearn.encoder.least_change import Moments
from recbole_unlearn.encoder.touched import Touched
from recbole_unlearn.encoder.touched_features import Features, SpectrumAt
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import UnlearnableRecommender


class WholeTable:
    """The same as :class:`~recbole_unlearn.encoder.local.LocalTable` for any request and readout.

    Args:
        model: before the request.
        remaining: its graph without the request, on its device.
        touched: of the request.
        own: see :class:`~recbole_unlearn.encoder.calibrated.CalibratedEncoder`.
    """

    def __init__(
        self, model: UnlearnableRecommender, remaining: Graph, touched: Touched, own: torch.Tensor | None
    ) -> None:
        self.model, self.remaining, self.nodes, self.own = model, remaining, touched.nodes, own
        self.ego = model.ego_embeddings()
        self.features = Features(SpectrumAt.of(remaining, self.ego, touched), touched)

    def final(self, rows: torch.Tensor) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """See :meth:`~recbole_unlearn.encoder.local.LocalTable.final`."""
        final = self.model.forward(self.ego.index_copy(0, self.nodes, rows), self.remaining.adjacency)
        moments = Moments.of(final, self.remaining.degrees(), self.remaining.n_users).spread(self.own)
        return final.index_select(0, self.nodes), [torch.linalg.inv(moment) for moment in moments]
