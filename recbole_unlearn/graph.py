"""The user-item graph: its edges, its normalised sparse adjacency and products with it, and the removal of edges.

Nodes are numbered users first: user ``u`` is node ``u``, item ``i`` is node ``n_users + i``; ``N = n_users + n_items``.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import scipy.sparse
import torch
from recbole.data.dataset import Dataset


@dataclass(frozen=True)
class Graph:
    """An undirected bipartite graph as a sorted, duplicate-free list of ``E`` edges.

    Build one with :meth:`from_edges`. A subgraph, and the order by items, then cost O(E), without sorting.

    Args:
        users: user of each edge, shape ``(E,)``, ascending by (user, item).
        items: item of each edge, shape ``(E,)``.
        n_users: number of users, padding included.
        n_items: number of items, padding included.
    """

    users: torch.Tensor
    items: torch.Tensor
    n_users: int
    n_items: int

    @classmethod
    def from_edges(cls, users: torch.Tensor, items: torch.Tensor, n_users: int, n_items: int) -> "Graph":
        """Sort the edges and drop repetitions.

        Args:
            users, items: the edges' ends, shape ``(E,)`` each, any order.
        """
        pairs = users * n_items + items
        if not (pairs[1:] > pairs[:-1]).all():  # the edges of our own files are sorted already
            pairs = _distinct(pairs)
            users, items = pairs // n_items, pairs % n_items
        return cls(users, items, n_users, n_items)

    @classmethod
    def union(cls, *graphs: "Graph") -> "Graph":
        """One graph of the edges of several on the same nodes."""
        if len(graphs) == 1:
            return graphs[0]
        users = torch.cat([graph.users for graph in graphs])
        items = torch.cat([graph.items for graph in graphs])
        return cls.from_edges(users, items, graphs[0].n_users, graphs[0].n_items)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_nodes(self) -> int:
        """N, users and items together."""
        return self.n_users + self.n_items

    def to(self, device: torch.device | str) -> "Graph":
        """The same graph on another device, or the graph itself if it is there already."""
        if self.users.device == torch.empty(0, device=device).device:
            return self
        return Graph(self.users.to(device), self.items.to(device), self.n_users, self.n_items)

    def degrees(self) -> torch.Tensor:
        """Number of edges at each node, shape ``(N,)``; not to be written to."""
        return self._degrees

    @cached_property
    def _degrees(self):
        return torch.cat(
            [
                torch.bincount(self.users, minlength=self.n_users),
                torch.bincount(self.items, minlength=self.n_items),
            ]
        )

    def contains(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether each pair is an edge, as a boolean of the pairs' shape; O(log E) a pair."""
        return self.find(users, items)[1]

    def items_of(self, users: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All items of some users.

        Args:
            users: of the graph's device, any order.

        Returns:
            For each edge of these users its user's place in ``users``, ascending, and its item.
        """
        first = torch.searchsorted(self.users, users)
        sizes = torch.searchsorted(self.users, users, right=True) - first
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), sizes)
        within = torch.arange(len(rows), device=users.device) - (torch.cumsum(sizes, 0) - sizes).index_select(0, rows)
        return rows, self.items.index_select(0, first.index_select(0, rows) + within)

    def subgraph(self, keep: torch.Tensor) -> "Graph":
        """The graph of the edges where ``keep`` (boolean, shape ``(E,)``) holds, on the same nodes."""
        kept = keep.nonzero().squeeze(1)
        users, items = (side.index_select(0, kept) for side in (self.users, self.items))
        return Graph(users, items, self.n_users, self.n_items)

    def without(self, users: torch.Tensor, items: torch.Tensor) -> "Graph":
        """The remaining graph after forgetting these edges; ignores pairs that are not edges."""
        position, found = self.find(users, items)
        if not found.any():
            return self
        keep = torch.ones(len(self), dtype=torch.bool, device=self.users.device)
        keep[position[found]] = False
        return self.subgraph(keep)

    @cached_property
    def item_order(self) -> torch.Tensor:
        """The edges' positions ordered by (item, user), shape ``(E,)``."""
        if self.items.device.type != "cpu":
            return torch.argsort(self.items, stable=True)
        starts = np.cumsum(np.bincount(self.users.numpy() + 1, minlength=self.n_users + 1))
        parts = np.arange(len(self)), self.items.numpy(), starts
        by_item = scipy.sparse.csr_matrix(parts, shape=(self.n_users, self.n_items)).tocsc()  # a counting sort
        return torch.from_numpy(by_item.data)

    @cached_property
    def adjacency(self) -> torch.Tensor:
        r"""The normalised adjacency :math:`D^{-1/2} A D^{-1/2}` as a sparse CSR tensor, shape ``(N, N)``.

        A node without edges has a row of zeros. Indices are 32-bit: the sparse product then runs several times
        faster on a CPU than with a coordinate matrix.
        """
        degrees, order = self.degrees(), self.item_order
        of_users, of_items = degrees.clamp(min=1).rsqrt().split([self.n_users, self.n_items])
        values = of_users.index_select(0, self.users) * of_items.index_select(0, self.items)
        columns = [(self.items + self.n_users).int(), self.users.int().index_select(0, order)]
        row_starts = torch.zeros(self.n_nodes + 1, dtype=torch.int32, device=degrees.device)
        row_starts[1:] = torch.cumsum(degrees, 0)
        return torch.sparse_csr_tensor(
            row_starts,
            torch.cat(columns),
            torch.cat([values, values.index_select(0, order)]),
            size=(self.n_nodes, self.n_nodes),
        )

    def find(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Position of each pair among the edges, and whether it is an edge; if not, the position has no meaning."""
        if len(self) == 0:
            return torch.zeros_like(users), torch.zeros_like(users, dtype=torch.bool)
        pairs = self.users * self.n_items + self.items
        wanted = users * self.n_items + items
        position = torch.searchsorted(pairs, wanted).clamp(max=len(self) - 1)
        return position, pairs[position] == wanted


def _distinct(numbers):
    """The different numbers, ascending."""
    if numbers.device.type != "cpu":
        return torch.unique(numbers)
    ascending = torch.from_numpy(np.sort(numbers.numpy()))  # several times faster than torch's
    return ascending[torch.cat([ascending.new_ones(1, dtype=torch.bool), ascending[1:] != ascending[:-1]])]


COLUMNS = 32  # that go through all layers together on a CPU: more of their rows fit into its cache


def _by_columns(propagation, x):
    """Apply a propagation, which treats each column alike, to blocks of a table's columns."""
    if x.device.type != "cpu" or x.shape[1] <= COLUMNS:
        return propagation(x.contiguous())
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    for start in range(0, x.shape[1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        result[:, columns] = propagation(x[:, columns].contiguous())
    return result


class _SymmetricProduct(torch.autograd.Function):
    """``A @ x`` for a symmetric sparse ``A``. The backward pass is the same product and builds no transpose."""

    @staticmethod
    def forward(ctx, adjacency, x):
        ctx.adjacency = adjacency
        return adjacency @ x

    @staticmethod
    def backward(ctx, gradient):
        return None, _SymmetricProduct.apply(ctx.adjacency, gradient)


class _MeanPropagation(torch.autograd.Function):
    """Mean of ``x, A_1 x, A_2 A_1 x, ...``."""

    @staticmethod
    def forward(ctx, adjacencies, x):
        ctx.adjacencies = adjacencies
        same = all(adjacency is adjacencies[0] for adjacency in adjacencies)
        return _by_columns(partial(_horner if same else _mean_of_layers, adjacencies), x)

    @staticmethod
    def backward(ctx, gradient):
        return None, _TransposedMeanPropagation.apply(ctx.adjacencies, gradient)


class _TransposedMeanPropagation(torch.autograd.Function):
    """Mean of ``x, A_1 x, A_1 A_2 x, ...``: the transpose of the mean propagation."""

    @staticmethod
    def forward(ctx, adjacencies, x):
        ctx.adjacencies = adjacencies
        return _by_columns(partial(_horner, adjacencies), x)

    @staticmethod
    def backward(ctx, gradient):
        return None, _MeanPropagation.apply(ctx.adjacencies, gradient)


def _mean_of_layers(adjacencies, x):
    total, layer = x.clone(), x
    for adjacency in adjacencies:
        layer = adjacency @ layer
        total += layer
    return total.div_(len(adjacencies) + 1)


def _horner(adjacencies, x):
    """Horner's rule, ``x + A_1 (x + A_2 (x + ...))``: each product adds the next layer in the same pass."""
    total = x
    for adjacency in reversed(adjacencies):
        total = torch.addmm(x, adjacency, total)
    return total / (len(adjacencies) + 1)


def propagate(adjacency: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One step of message passing, ``A @ x``, differentiable in ``x``.

    Args:
        adjacency: symmetric sparse CSR, shape ``(N, N)``.
        x: node table, shape ``(N, d)``.
    """
    with torch.autocast(x.device.type, enabled=False):  # torch has no sparse product in half precision on a CPU
        return _SymmetricProduct.apply(adjacency, x.to(adjacency.dtype))


def mean_propagation(adjacencies: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    r"""LightGCN's readout :math:`\frac{1}{L+1} \sum_{l=0}^{L} A_l \cdots A_1 x`, differentiable in ``x``.

    Costs L sparse products forward and as many backward (He et al., SIGIR 2020, Eq. 8).

    Args:
        adjacencies: one symmetric sparse CSR matrix a layer, shape ``(N, N)`` each.
        x: node table, shape ``(N, d)``.

    Returns:
        Shape ``(N, d)``.
    """
    with torch.autocast(x.device.type, enabled=False):
        return _MeanPropagation.apply(adjacencies, x.to(adjacencies[0].dtype) if adjacencies else x)


def dataset_graph(dataset: Dataset) -> Graph:
    """The graph of a RecBole dataset's interactions.

    Args:
        dataset: after ``build()``.
    """
    users, items = dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]
    return Graph.from_edges(users, items, dataset.user_num, dataset.item_num)
