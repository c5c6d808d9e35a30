"""The leading singular triplets of a graph's normalised interactions, in which no single edge counts for much."""

from dataclasses import dataclass

import torch

from recbole_unlearn.graph import Graph
from recbole_unlearn.propagation import multiply
from recbole_unlearn.streams import torch_stream

RANK = 64  # singular triplets
NODES_PER_TRIPLET = 32  # of the smaller side, at least: with more triplets than that, a projection is no low pass
STEPS = 3  # of the subspace iteration
OVERSAMPLING = 8
SMALLEST = 1e-5  # of the largest singular value: a smaller one is rounding


@dataclass(frozen=True)
class Spectrum:
    r"""The leading singular triplets of the normalised interactions :math:`R = D_u^{-1/2} B D_i^{-1/2}`.

    Args:
        users: left singular vectors, shape ``(n_users, K)``.
        values: singular values, descending, shape ``(K,)``.
        items: right singular vectors, shape ``(n_items, K)``; times ``values`` they are :math:`R^T` times ``users``.
    """

    users: torch.Tensor
    values: torch.Tensor
    items: torch.Tensor

    @classmethod
    def of(cls, graph: Graph, rank: int = RANK, steps: int = STEPS) -> "Spectrum":
        """Compute it by subspace iteration from random vectors (Halko et al., SIAM Review 2011, algorithm 4.4).

        It costs ``2 steps + 2`` products with the interactions. The vectors become orthonormal again after every two
        products, which a few steps with values of at most 1 allow.

        Args:
            graph: on any device.
            rank: K at most; less if a side is small, see ``NODES_PER_TRIPLET``.
            steps: of the iteration.
        """
        smaller = min(graph.n_users, graph.n_items) - 1  # without the padding
        rank = max(1, min(rank, smaller // NODES_PER_TRIPLET))
        columns = max(1, min(rank + OVERSAMPLING, smaller))
        forward, backward = interactions(graph)
        generator = torch_stream(0, "spectrum")  # the vectors hold nothing of the data: any fixed ones do
        start = torch.randn(graph.n_items, columns, generator=generator).to(forward.device)
        basis = torch.linalg.qr(multiply(forward, start)).Q
        for _ in range(steps):
            basis = torch.linalg.qr(multiply(forward, multiply(backward, basis))).Q
        right, values, left = torch.linalg.svd(multiply(backward, basis), full_matrices=False)
        return cls((basis @ left.t())[:, :rank].contiguous(), values[:rank], right[:, :rank].contiguous())

    def at(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The singular vectors at some users and items, one below the other, shape ``(T, K)``."""
        return torch.cat([self.users.index_select(0, users), self.items.index_select(0, items)])


@dataclass(frozen=True)
class Turn:
    """How a step from vectors that nearly span the leading singular ones turns into these (Rayleigh and Ritz).

    What the interactions make of the vectors of items, times ``users``, are those of users, and the converse.

    Args:
        users, items: shape ``(K, K)``.
        values: singular values, descending, shape ``(K,)``.
    """

    users: torch.Tensor
    items: torch.Tensor
    values: torch.Tensor

    @classmethod
    def of(cls, small: torch.Tensor) -> "Turn":
        """By the interactions between the vectors of both sides, ``users^T R items``, shape ``(K, K)``."""
        left, values, right = torch.linalg.svd(small)
        inverse = torch.where(values > SMALLEST * values[0], values, torch.inf).reciprocal()
        return cls(right.t() * inverse, left * inverse, values)


def interactions(graph: Graph) -> list[torch.Tensor]:
    """The normalised interactions as sparse CSR, shape ``(n_users, n_items)``, and their transpose.

    They are the two halves of the adjacency.
    """
    adjacency = graph.adjacency
    starts, columns, values = adjacency.crow_indices(), adjacency.col_indices(), adjacency.values()
    n_users, n_items, size = graph.n_users, graph.n_items, len(graph)
    of_users = starts[: n_users + 1], columns[:size] - n_users, values[:size]
    of_items = starts[n_users:] - size, columns[size:].clone(), values[size:].clone()  # aligned, for a GPU's kernels
    shapes = (n_users, n_items), (n_items, n_users)
    return [torch.sparse_csr_tensor(*side, size=shape) for side, shape in zip((of_users, of_items), shapes)]
