"""IFRU: the influence of the forgotten edges and of the edges that they spill over to, on the rows that matter."""

from typing import Any

import torch

from recbole_unlearn.method.base import METHODS
from recbole_unlearn.method.influence.base import InfluenceUnlearner
from recbole_unlearn.propagation import propagate
from recbole_unlearn.settings import Count, Positive, Settings, ShareOrZero, Weight, setting


class IFRUSettings(Settings):
    """The spillover, the rows that move, and the solver"""

    unlearn_ifru_degree_change: ShareOrZero = setting(
        0.01, "Fall of an end's degree, as a share, from which a retained edge counts.", "Ours."
    )
    unlearn_ifru_quantile: ShareOrZero = setting(
        0.4, "Of the propagated deleted share; rows above it move.", "Its paper's pruning."
    )
    unlearn_ifru_damping: Weight = setting(0.3, "Added to the Hessian's diagonal.", "Ours, chosen on validation data.")
    unlearn_ifru_iterations: Count = setting(100, "Steps of conjugate gradient at most.", "Ours.")
    unlearn_ifru_tolerance: Positive = setting(
        0.01, "Residual, relative to the right-hand side, at which to stop.", "Ours."
    )


@METHODS.register
class IFRU(InfluenceUnlearner):
    """The influence function, restricted to what a deletion changes most.

    v is the gradient of the forgotten edges' BPR plus the spillover: the change in BPR of retained edges with an end
    whose degree falls by a share above ``unlearn_ifru_degree_change``. Regulariser and contrast change as a whole. Only
    rows above the ``unlearn_ifru_quantile`` of the propagated share of deleted edges move, with the damped H restricted
    to them.

    Reference: Zhang et al., "Recommendation Unlearning via Influence Function", ACM TORS 2024.
    """

    settings = IFRUSettings
    sums_bpr = True

    def change_of_gradient(self) -> torch.Tensor:
        triples, kept, data = self.triples, self.kept(), self.data
        shrinks = self._deleted_share() > self.config["unlearn_ifru_degree_change"]
        spilled = kept & (shrinks[triples.users] | shrinks[triples.items + triples.n_users])
        before = self.frozen(data.graph, triples, self.views, triples.select(spilled | ~kept))
        views = self.remaining_views()
        after = self.frozen(data.remaining_graph, triples.select(kept), views, triples.select(spilled))
        return before.gradient(self.point) - after.gradient(self.point)

    def solve(self, v: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.damped_step(v, self.config["unlearn_ifru_damping"], "unlearn_ifru", self._important_rows())

    def _deleted_share(self):
        """Share of each node's edges that the request removes, shape ``(N,)``."""
        before, after = (graph.degrees().to(self.point) for graph in (self.data.graph, self.data.remaining_graph))
        return (before - after) / before.clamp(min=1)

    def _important_rows(self):
        """Rows above the quantile of the deleted share after L steps of propagation, boolean of shape ``(N,)``."""
        share = self._deleted_share()[:, None]
        for _ in range(self.config["n_layers"] or 1):
            share = share + propagate(self.loss.adjacency, share)
        share = share.squeeze(1)
        reached = share[share > 0]
        return share > torch.quantile(reached, self.config["unlearn_ifru_quantile"]) if len(reached) else share > 0
