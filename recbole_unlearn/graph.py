"""The user-item graph: its edges, its normalised sparse adjacency, and the removal of edges.

Nodes are numbered users first: user ``u`` is node ``u``, item ``i`` is node ``n_users + i``; ``N = n_users + n_items``.
"""

import weakref
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from recbole.data.dataset import Dataset
from torch.utils.weak import WeakTensorKeyDictionary


class Graph:
    """An undirected bipartite graph as a sorted, duplicate-free list of ``E`` edges, of eight bytes each.

    Build one with :meth:`from_edges`. It does not change; a subgraph, and the order by items, cost O(E).

    Args:
        users: user of each edge, shape ``(E,)``, ascending by (user, item).
        items: item of each edge, shape ``(E,)``.
        n_users, n_items: numbers of users and items, padding included.
        degrees: number of edges at each node, shape ``(N,)``, if it is known.
    """

    def __init__(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        n_users: int,
        n_items: int,
        degrees: torch.Tensor | None = None,
    ) -> None:
        self._users, self._items = users.int(), items.int()  # half as long as what torch's functions want
        self.n_users, self.n_items = n_users, n_items
        if degrees is not None:
            self._degrees = degrees

    @property
    def users(self) -> torch.Tensor:
        """The user of each edge, int64, shape ``(E,)``, ascending; a new tensor."""
        return self._users.long()

    @property
    def items(self) -> torch.Tensor:
        """The item of each edge, int64, shape ``(E,)``; a new tensor."""
        return self._items.long()

    @property
    def device(self) -> torch.device:
        """Where the edges are."""
        return self._users.device

    @classmethod
    def from_edges(cls, users: torch.Tensor, items: torch.Tensor, n_users: int, n_items: int) -> "Graph":
        """Sort the edges and drop repetitions.

        Args:
            users, items: the edges' ends, shape ``(E,)`` each, any order.
        """
        pairs = users * n_items + items
        if not (pairs[1:] > pairs[:-1]).all():  # the edges of our own files are sorted already
            pairs = _distinct(pairs)
            users = (pairs // n_items).int()
            items = pairs.sub_(users * n_items)
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
        return len(self._users)

    @property
    def n_nodes(self) -> int:
        """N, users and items together."""
        return self.n_users + self.n_items

    def to(self, device: torch.device | str) -> "Graph":
        """The same graph on another device, or the graph itself if it is there already."""
        if self.device == torch.empty(0, device=device).device:
            return self
        return Graph(self._users.to(device), self._items.to(device), self.n_users, self.n_items)

    def copy(self) -> "Graph":
        """The same edges in a graph for which nothing but the degrees is computed yet."""
        return Graph(self._users, self._items, self.n_users, self.n_items, self.degrees())

    def degrees(self) -> torch.Tensor:
        """Number of edges at each node, shape ``(N,)``; not to be written to."""
        return self._degrees

    @cached_property
    def _degrees(self):
        return torch.cat(
            [
                torch.bincount(self._users, minlength=self.n_users),
                torch.bincount(self._items, minlength=self.n_items),
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
        first, end = self.bounds(users)
        sizes = end - first
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), sizes)
        within = torch.arange(len(rows), device=users.device) - (torch.cumsum(sizes, 0) - sizes).index_select(0, rows)
        return rows, self._items.index_select(0, first.index_select(0, rows) + within).long()

    def bounds(self, users: torch.Tensor) -> list[torch.Tensor]:
        """Where the edges of each user begin, and where they end, in the users' shape."""
        return [torch.searchsorted(self._users, users.int(), right=right) for right in (False, True)]

    def subgraph(self, keep: torch.Tensor) -> "Graph":
        """The graph of the edges where ``keep`` (boolean, shape ``(E,)``) holds, on the same nodes."""
        users, items = (_where(side, keep) for side in (self._users, self._items))
        return Graph(users, items, self.n_users, self.n_items)

    def without(self, users: torch.Tensor, items: torch.Tensor) -> "Graph":
        """The remaining graph after forgetting these edges; ignores pairs that are not edges."""
        position, found = self.find(users, items)
        if not found.any():
            return self
        gone = torch.unique(position[found])
        keep = torch.ones(len(self), dtype=torch.bool, device=self.device).index_fill_(0, gone, False)
        lost = torch.cat([self._users[gone], self._items[gone] + self.n_users])
        degrees = self.degrees() - torch.bincount(lost, minlength=self.n_nodes)
        users, items = (_where(side, keep) for side in (self._users, self._items))
        return Graph(users, items, self.n_users, self.n_items, degrees)

    def item_order(self) -> torch.Tensor:
        """The edges' positions ordered by (item, user), shape ``(E,)``."""
        if self.device.type != "cpu":
            return torch.argsort(self._items, stable=True)
        starts = np.cumsum(np.bincount(self._users.numpy() + 1, minlength=self.n_users + 1))
        parts = np.arange(len(self), dtype=np.int32), self._items.numpy(), starts
        by_item = scipy.sparse.csr_matrix(parts, shape=(self.n_users, self.n_items)).tocsc()  # a counting sort
        return torch.from_numpy(by_item.data)

    @cached_property
    def adjacency(self) -> torch.Tensor:
        r"""The normalised adjacency :math:`D^{-1/2} A D^{-1/2}` as a sparse CSR tensor, shape ``(N, N)``.

        A node without edges has a row of zeros. Indices are 32-bit: the sparse product then runs several times
        faster on a CPU than with a coordinate matrix.
        """
        degrees, order = self.degrees(), self.item_order()
        of_users, of_items = degrees.clamp(min=1).rsqrt().split([self.n_users, self.n_items])
        values = of_users.index_select(0, self._users) * of_items.index_select(0, self._items)
        columns = [self._items + self.n_users, self._users.index_select(0, order)]
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
        if users.numel() * FEW < len(self):
            return self._find_few(users, items)
        pairs, wanted = self.users.mul_(self.n_items).add_(self._items), users * self.n_items + items
        position = torch.searchsorted(pairs, wanted).clamp(max=len(self) - 1)
        return position, pairs[position] == wanted

    def _find_few(self, users, items):
        """:meth:`find` by bisection among each user's items, at a cost that does not depend on the number of edges."""
        position = bisect(self._items, items, *self.bounds(users)).clamp(max=len(self) - 1)
        return position, (self._users[position] == users) & (self._items[position] == items)


def bisect(numbers: torch.Tensor, wanted: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Where each wanted number is in its own ascending part of some numbers, or would be, in its shape.

    Args:
        numbers: shape ``(n,)``.
        wanted: any shape.
        low, high: where the part of each begins and ends, in the same shape.
    """
    while (low < high).any():
        middle = (low + high).div(2, rounding_mode="floor")
        before = (low < high) & (numbers[middle.clamp(max=len(numbers) - 1)] < wanted)
        low, high = torch.where(before, middle + 1, low), torch.where(before, high, torch.minimum(high, middle))
    return low


def in_any(graphs: Sequence[Graph], users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Whether each pair is an edge of any of several graphs on the same nodes, without the memory of their union."""
    return torch.stack([graph.contains(users, items) for graph in graphs]).any(dim=0)


FEW = 1_000  # edges for each pair that is looked up, above which bisection is faster than a pass over all edges


def _where(numbers, keep):
    """The numbers where ``keep`` holds."""
    if numbers.device.type != "cpu":
        return numbers[keep]
    return torch.from_numpy(numbers.numpy()[keep.numpy()])  # several times faster than torch's


def _distinct(numbers):
    """The different numbers, ascending."""
    if numbers.device.type != "cpu":
        return torch.unique(numbers)
    ascending = torch.from_numpy(np.sort(numbers.numpy()))  # several times faster than torch's
    return ascending[torch.cat([ascending.new_ones(1, dtype=torch.bool), ascending[1:] != ascending[:-1]])]


def dataset_graph(dataset: Dataset) -> Graph:
    """The graph of a RecBole dataset's interactions; the same object as long as these do not change.

    Args:
        dataset: after ``build()``.
    """
    users, items = dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]
    sizes = dataset.user_num, dataset.item_num
    state = users._version, items._version, *sizes
    of_items, known, graph = _GRAPHS.get(users, (lambda: None, None, None))
    if of_items() is not items or known != state:
        graph = Graph.from_edges(users, items, *sizes)
        _GRAPHS[users] = weakref.ref(items), state, graph
    return graph


_GRAPHS = WeakTensorKeyDictionary()  # the users' tensor to the items', the state of both, and their graph
