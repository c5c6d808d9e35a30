"""The cheapest move of some nodes' rows that closes given gaps of scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from recbole_unlearn.solver import conjugate_gradient

SPREAD = 0.1  # share of the mean second moment, added to all directions: no change can hide in nearly empty ones
TOLERANCE, ITERATIONS = 0.1, 50  # of the conjugate gradient


@dataclass(frozen=True)
class Moments:
    """Second moments of final embeddings, users first: sums over the edges' ends, and means over nodes.

    Args:
        of_edges, of_nodes: shape ``(D, D)`` for each side.
        n_edges: E.
    """

    of_edges: Sequence[torch.Tensor]
    of_nodes: Sequence[torch.Tensor]
    n_edges: int

    @classmethod
    def of(cls, final: torch.Tensor, degrees: torch.Tensor, n_users: int) -> "Moments":
        """Of final embeddings, shape ``(N, D)``, and degrees, shape ``(N,)``, each side's padding first."""
        sides = [n_users, len(final) - n_users]
        of_edges = [_moment(*side) for side in zip(final.split(sides), degrees.split(sides))]
        of_nodes = [side[1:].t() @ side[1:] / max(1, len(side) - 1) for side in final.split(sides)]
        return cls(of_edges, of_nodes, int(degrees.sum()) // 2)

    def without(self, final: torch.Tensor, lost: torch.Tensor, n_users: int) -> "Moments":
        """Without edges, by the final embeddings of their ends and how many edges each end loses, users first."""
        sides = [n_users, len(final) - n_users]
        gone = [_moment(*side) for side in zip(final.split(sides), lost.split(sides))]
        of_edges = [before - less for before, less in zip(self.of_edges, gone)]
        return Moments(of_edges, self.of_nodes, self.n_edges - int(lost.sum()) // 2)

    def spread(self, own: torch.Tensor | None) -> list[torch.Tensor]:
        """``C`` of each side: half over its edges, half over its nodes, plus a spread that makes it invertible.

        Args:
            own: see :func:`~recbole_unlearn.encoder.response.own_map`.

        Returns:
            Shape ``(d, d)`` each, positive definite.
        """
        spread = []
        for of_edges, of_nodes in zip(self.of_edges, self.of_nodes):
            moment = (of_edges / max(1, self.n_edges) + of_nodes) / 2
            moment = moment if own is None else own.t() @ moment @ own
            least = SPREAD * moment.trace() / len(moment) + torch.finfo(moment.dtype).eps
            spread.append(moment + least * torch.eye(len(moment), dtype=moment.dtype, device=moment.device))
        return spread


def _moment(embeddings, counts):
    return (embeddings * counts[:, None]).t() @ embeddings


class LeastChange:
    """The cheapest move of rows that closes given gaps; its cost is the change of the nodes' other scores.

    Args:
        embeddings: final embeddings of T nodes as a row sees them, users first, shape ``(T, d)``.
        n_users: nodes that are users.
        inverses: of C of users and of items, see :meth:`Moments.spread`.
        degrees: remaining pairs of each node, shape ``(T,)``.
        row_response, spread_cost: see :class:`~recbole_unlearn.encoder.calibrated.CalibratedEncoder`; of these nodes.
    """

    def __init__(
        self,
        embeddings: torch.Tensor,
        n_users: int,
        inverses: Sequence[torch.Tensor],
        degrees: torch.Tensor,
        row_response: torch.Tensor,
        spread_cost: torch.Tensor,
    ) -> None:
        self.embeddings, self.row_response = embeddings, row_response
        smallest = torch.finfo(embeddings.dtype).tiny
        step = torch.where(degrees > 0, row_response / (2 * degrees * spread_cost).clamp(min=smallest), 0)
        self.step = step[:, None]
        sides = zip(inverses, embeddings.split([n_users, len(embeddings) - n_users]))
        # What a user's row moves by is an item's embedding, and the converse.
        self.whitened = torch.cat([side @ inverse for inverse, side in sides])

    def __call__(self, of_user: torch.Tensor, of_item: torch.Tensor, gaps: torch.Tensor, weight: float) -> torch.Tensor:
        """The change of the rows, shape ``(T, d)``.

        Args:
            of_user, of_item: places of each pair's ends among the nodes, shape ``(F,)``.
            gaps: of the pairs' scores, shape ``(F,)``.
            weight: of the cost.
        """
        row, other = torch.cat([of_user, of_item]), torch.cat([of_item, of_user])  # each pair's ends, and other ends
        others, whitened = self.embeddings.index_select(0, other), self.whitened.index_select(0, other)
        response = self.row_response[row]

        def moves(coefficients):
            """``P J^T`` times the pairs' coefficients: the moves of the rows."""
            scaled = coefficients.repeat(2)[:, None] * whitened
            return torch.zeros_like(self.embeddings).index_add_(0, row, scaled).mul_(self.step)

        def product(coefficients):
            """``(J P J^T + nu)`` times coefficients."""
            changes = response * (moves(coefficients).index_select(0, row) * others).sum(dim=1)
            return changes.view(2, -1).sum(dim=0) + weight * coefficients

        # The diagonal of J P J^T.
        own = (response[:, None] * self.step[row] * whitened * others).sum(dim=1).view(2, -1).sum(dim=0)
        scale = (own + weight + torch.finfo(own.dtype).tiny).rsqrt()  # Jacobi's preconditioner
        scaled, _, _ = conjugate_gradient(lambda x: scale * product(scale * x), scale * gaps, TOLERANCE, ITERATIONS)
        return -moves(scale * scaled)
