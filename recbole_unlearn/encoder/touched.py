"""The nodes that a request touches, and how the graph changes there."""

from functools import cached_property

import torch

from recbole_unlearn.encoder.rows_of_graph import Rows, entries
from recbole_unlearn.graph import Graph
from recbole_unlearn.propagation import multiply

NEAR = 0.5  # share of the graph's entries in the rows of touched nodes, up to which a part of it is worth cutting out


class Touched:
    r"""The T nodes at which a request takes edges away from a graph.

    What remains has the adjacency :math:`A_r = S (A - F) S`, where F has the forgotten entries of A and the diagonal S
    differs from 1 at touched nodes alone: the root of how many times more edges a node had, or 0 if it keeps none.

    Args:
        graph: before the request.
        users, items: the forgotten edges, shape ``(F,)``.

    Raises:
        ValueError: a pair is no edge of the graph.
    """

    def __init__(self, graph: Graph, users: torch.Tensor, items: torch.Tensor) -> None:
        if not graph.contains(users, items).all():
            raise ValueError("A request forgets edges of the graph, but it names a pair that is none.")
        self.graph = graph
        ends = torch.cat([users, items + graph.n_users])
        self.nodes, places = torch.unique(ends, return_inverse=True)  # ascending, users first
        self.of_user, self.of_item = places.chunk(2)  # each pair's ends among the nodes
        self.n_users = int((self.nodes < graph.n_users).sum())
        before = graph.degrees()[self.nodes]
        self.lost = torch.bincount(places, minlength=len(self.nodes))
        self.degrees = before - self.lost  # of what remains
        adjacency = graph.adjacency
        ratio = before.to(adjacency.values()) / self.degrees.clamp(min=1)
        self.scale = torch.where(self.degrees > 0, ratio.sqrt(), 0)[:, None]
        self._gone = entries(adjacency, ends, ends.roll(len(users)))
        self._weights = adjacency.values().index_select(0, self._gone[: len(users)])[:, None]

    @property
    def sides(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The touched users, and the touched items by their own numbers."""
        return self.nodes[: self.n_users], self.nodes[self.n_users :] - self.graph.n_users

    @property
    def n_entries(self) -> int:
        """Of the adjacency in the rows of touched nodes, before the request."""
        return int((self.degrees + self.lost).sum())

    @property
    def is_near(self) -> bool:
        """Whether these rows are a small part of the graph."""
        return self.n_entries <= NEAR * 2 * len(self.graph)

    @property
    def strength(self) -> float:
        r"""A bound of F's spectral norm, its own in patterns that take the same share of all their nodes' edges.

        By Collatz and Wielandt, with :math:`\sqrt{d_v}` as the vector:
        :math:`\|F\|^2 \le \max_v \frac{1}{d_v} \sum_{w \in F(v)} \frac{|F(w)|}{d_w}`, over either side's nodes v.
        """
        if len(self.nodes) == 0:
            return 0.0
        before = (self.degrees + self.lost).double()
        shares, sums = self.lost / before, torch.zeros_like(before)
        sums.index_add_(0, self.of_user, shares[self.of_item]).index_add_(0, self.of_item, shares[self.of_user])
        of_users, of_items = (sums / before).split([self.n_users, len(sums) - self.n_users])
        return min(of_users.max().item(), of_items.max().item()) ** 0.5

    def forgotten(self, rows: torch.Tensor) -> torch.Tensor:
        """F times rows of the touched nodes, shape ``(T, d)``."""
        product = torch.zeros_like(rows)
        product.index_add_(0, self.of_user, self._weights * rows.index_select(0, self.of_item))
        return product.index_add_(0, self.of_item, self._weights * rows.index_select(0, self.of_user))

    def among(self, rows: torch.Tensor) -> torch.Tensor:
        """A times a table that is zero but for rows of the touched nodes, at the touched nodes, shape ``(T, d)``."""
        return multiply(self._near[0], rows)

    @property
    def returning(self) -> torch.Tensor:
        """The diagonal of the squared A at the touched nodes, shape ``(T, 1)``."""
        return self._near[1]

    @cached_property
    def _near(self):
        """The part of A between touched nodes as sparse CSR, shape ``(T, T)``, and its squared rows' sums."""
        row, columns, values = Rows(self.graph.adjacency, self.graph.degrees())(self.nodes)
        n_touched = len(self.nodes)
        squares = values.new_zeros(n_touched).index_add_(0, row, values.square())
        place = torch.full((self.graph.n_nodes,), -1, dtype=torch.int32, device=row.device)
        place[self.nodes] = torch.arange(n_touched, dtype=torch.int32, device=row.device)
        column = place.index_select(0, columns)
        kept = (column >= 0).nonzero().squeeze(1)
        starts = row.new_zeros(n_touched + 1, dtype=torch.int32)
        starts[1:] = torch.cumsum(torch.bincount(row[kept], minlength=n_touched), 0)
        parts = starts, column[kept], values[kept]
        return torch.sparse_csr_tensor(*parts, size=(n_touched, n_touched)), squares[:, None]

    @property
    def remaining(self) -> "Rows":
        """The rows of what remains."""
        scale = self.scale.new_ones(self.graph.n_nodes).index_copy_(0, self.nodes, self.scale.squeeze(1))
        return Rows(
            self.graph.adjacency, self.graph.degrees().index_copy(0, self.nodes, self.degrees), self._gone, scale
        )
