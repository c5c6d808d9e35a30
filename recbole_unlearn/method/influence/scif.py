"""SCIF: the influence of a request on its own users' and items' rows, with collaborative labels in its place."""

from typing import Any

import torch

from recbole_unlearn.method.base import METHODS
from recbole_unlearn.method.influence.base import InfluenceUnlearner
from recbole_unlearn.method.influence.frozen_loss import Triples
from recbole_unlearn.settings import Count, Positive, Settings, Weight, setting


class SCIFSettings(Settings):
    """The solver"""

    unlearn_scif_damping: Weight = setting(
        0.3, "Added to the Hessian's diagonal.", "Ours, chosen on simulated requests: without it H is indefinite."
    )
    unlearn_scif_iterations: Count = setting(100, "Steps of conjugate gradient at most.", "Ours, as IFRU's.")
    unlearn_scif_tolerance: Positive = setting(
        0.01, "Residual, relative to the right-hand side, at which to stop.", "Ours, as IFRU's."
    )


@METHODS.register
class SCIF(InfluenceUnlearner):
    r"""The influence function of relabelling the request, on the request's rows alone.

    Selective: only the rows of the request's users and items move, and weights besides the table, if there are any.
    Collaborative: a forgotten pair is not taken out of the loss but gets the label that the others' data suggest, so
    that deletion does not tear users and items apart.

    The paper averages ratings. Implicit feedback has none: BPR labels each triple (u, i, j) with 1, "u prefers i". Here
    the collaborative label of a triple e is the share of the remaining interactions with either item that are with i,

    .. math::
        y_e = \frac{d_i + 1}{d_i + d_j + 2}, \qquad
        v = \sum_{e \in F} \nabla [\sigma^+(-m_e) - y_e \sigma^+(-m_e) - (1 - y_e) \sigma^+(m_e)]
          = -\sum_{e \in F} (1 - y_e) \nabla m_e

    with the remaining degrees d, the forgotten triples F, their margins m and :math:`\sigma^+` = softplus. Then
    :math:`E_0' = E_0 + (S H S + \lambda I)^{-1} S v`, S the selection of rows. v is taken on the full graph: SCIF
    models no change of the graph, which IFRU and GIF do. The scripts of IFRU's authors also add the gradient of the
    whole loss to v, which would vanish at a minimum.

    Reference: Li et al., "Selective and Collaborative Influence Function for Efficient Recommendation Unlearning",
    Expert Systems with Applications 234, 2023 (arXiv 2304.10199).
    """

    settings = SCIFSettings
    sums_bpr = True

    def change_of_gradient(self) -> torch.Tensor:
        forgotten = self.triples.select(~self.kept())
        leaf = self.point.clone().requires_grad_()
        final = self.loss.final(leaf)
        of_final = forgotten.matrix(self.collaborative_labels(forgotten) - 1) @ final.detach()
        return torch.autograd.grad(final, leaf, of_final)[0]

    def solve(self, v: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.damped_step(v, self.config["unlearn_scif_damping"], "unlearn_scif", self.rows_of_request())

    def collaborative_labels(self, triples: Triples) -> torch.Tensor:
        """``y`` of each triple, shape ``(E,)``."""
        degrees = self.data.remaining_graph.degrees().to(self.point) + 1
        positive, negative = (degrees[side + triples.n_users] for side in (triples.items, triples.negatives))
        return positive / (positive + negative)

    def rows_of_request(self) -> torch.Tensor:
        """The users and items of the request, boolean of shape ``(N,)``."""
        graph, remaining = self.data.graph, self.data.remaining_graph
        return (graph.degrees() > remaining.degrees()).to(self.point.device)
