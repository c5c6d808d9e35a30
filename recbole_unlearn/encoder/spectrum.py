"""What a graph alone says of a pair of nodes: its spectrum, its short paths, and a trained table seen through them.

A model's own rows remember the pairs that it was trained on. The graph of what remains does not, nor does a table after
a projection onto that graph's leading singular vectors, which a single edge hardly turns.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch

from recbole_unlearn.graph import Graph
from recbole_unlearn.streams import torch_stream

RANK = 64  # singular triplets
NODES_PER_TRIPLET = 32  # of the smaller side, at least: with more triplets than that, a projection is no low pass
STEPS = 3  # of the subspace iteration
OVERSAMPLING = 8
BANDS = (0, 1, 4, 16, 32)  # where the bands of triplets begin
LOW_PASSES = (8, 32, RANK)  # triplets that a table is projected on
POWERS = (0, 1, 3)  # of the singular values
MOST_NEIGHBOURS = {"sparse": 128, "dense": 16}  # of a path's first two nodes; of more, a sample counts
SPARSE = 16_384  # two-step paths of a user in the mean, at most: in denser data a sample of so many paths says enough


@dataclass(frozen=True)
class Spectrum:
    r"""The leading singular triplets of the normalised interactions :math:`D_u^{-1/2} R D_i^{-1/2}`.

    Args:
        users: left singular vectors, shape ``(n_users, K)``.
        values: singular values, descending, shape ``(K,)``.
        items: right singular vectors, shape ``(n_items, K)``.
    """

    users: torch.Tensor
    values: torch.Tensor
    items: torch.Tensor

    @classmethod
    def of(cls, graph: Graph, rank: int = RANK, steps: int = STEPS) -> "Spectrum":
        """Compute it by subspace iteration from random vectors (Halko et al., SIAM Review 2011, algorithm 4.4).

        It costs ``2 steps + 2`` products with the interactions. The vectors become orthonormal again after every two
        products, which a few steps with values of at most 1 allow. Nothing is kept between graphs, so that nothing of a
        forgotten edge is.

        Args:
            graph: on any device.
            rank: K at most; less if a side is small, see ``NODES_PER_TRIPLET``.
            steps: of the iteration.
        """
        smaller = min(graph.n_users, graph.n_items) - 1  # without the padding
        rank = max(1, min(rank, smaller // NODES_PER_TRIPLET))
        columns = max(1, min(rank + OVERSAMPLING, smaller))
        forward, backward = _sides(graph)
        generator = torch_stream(0, "spectrum")  # the vectors hold nothing of the data: any fixed ones do
        start = torch.randn(graph.n_items, columns, generator=generator).to(forward.device)
        basis = torch.linalg.qr(forward @ start).Q
        for _ in range(steps):
            basis = torch.linalg.qr(forward @ (backward @ basis)).Q
        right, values, left = torch.linalg.svd(backward @ basis, full_matrices=False)
        return cls((basis @ left.t())[:, :rank].contiguous(), values[:rank], right[:, :rank].contiguous())


def pair_features(
    graph: Graph, spectrum: Spectrum, ego: torch.Tensor, users: torch.Tensor, items: torch.Tensor
) -> torch.Tensor:
    """Features of pairs: those of the graph, then those of a table.

    Args:
        graph: what remains; it does not hold the pairs.
        spectrum: of the graph.
        ego: 0-layer table of a model that may have seen the pairs, shape ``(N, d)``.
        users, items: the pairs, shape ``(B,)``.

    Returns:
        Shape ``(B, n_features)``; ``n_features`` depends on the spectrum's rank alone.
    """
    of_graph = graph_features(graph, spectrum, users, items)
    return with_table_features(of_graph, spectrum, ego, users, items)


def with_table_features(
    of_graph: torch.Tensor, spectrum: Spectrum, ego: torch.Tensor, users: torch.Tensor, items: torch.Tensor
) -> torch.Tensor:
    """:func:`pair_features` for which those of the graph are known.

    Args:
        of_graph: what :func:`graph_features` gives.
        spectrum, ego, users, items: see :func:`pair_features`.
    """
    return torch.cat([of_graph.to(ego.dtype), table_features(spectrum, ego, users, items)], dim=1)


def graph_features(graph: Graph, spectrum: Spectrum, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    r"""What the graph alone says of pairs: degrees, spectral sums and three-step paths.

    With the triplets :math:`(a_k, \sigma_k, b_k)` of a pair's user and item: sums of :math:`a_k b_k` and of
    :math:`\sigma_k a_k b_k` over bands of k; sums of :math:`\sigma_k^p a_k b_k` over all k times
    :math:`\sqrt{d_u d_i}`; the normalised number of paths of length three.

    Args:
        graph, spectrum, users, items: see :func:`pair_features`.

    Returns:
        Of the spectrum's type, shape ``(B, n)``.
    """
    left, right, values = spectrum.users[users], spectrum.items[items], spectrum.values
    degrees = graph.degrees()
    of_user, of_item = degrees[users].to(values), degrees[items + graph.n_users].to(values)
    products, rank = left * right, len(values)
    columns = [of_user.log1p(), of_item.log1p()]
    bands = [start for start in BANDS if start < rank] + [rank]
    for start, end in zip(bands, bands[1:]):
        columns += [products[:, start:end].sum(dim=1), products[:, start:end] @ values[start:end]]
    scale = (of_user * of_item).sqrt()
    columns += [(products @ values**power) * scale for power in POWERS]
    columns.append(three_step_paths(graph, users, items).to(values))
    return torch.stack(columns, dim=1)


def table_features(spectrum: Spectrum, ego: torch.Tensor, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    r"""Dot products of a table's low-passed rows.

    Rows are projected onto the first k triplets of both sides together, the same weighed by :math:`\sigma`, and each
    side by its own.

    Args:
        spectrum, ego, users, items: see :func:`pair_features`.

    Returns:
        Of the table's type, shape ``(B, n)``.
    """
    left, right = (side.to(ego.dtype) for side in (spectrum.users[users], spectrum.items[items]))
    bases, values = (spectrum.users.to(ego.dtype), spectrum.items.to(ego.dtype)), spectrum.values.to(ego.dtype)
    mine, theirs = (basis.t() @ rows for basis, rows in zip(bases, ego.split([len(basis) for basis in bases])))
    columns = []
    for k in sorted({min(len(values), low) for low in LOW_PASSES}):
        both = mine[:k] + theirs[:k]
        weighted = both * values[:k, None]
        for kernel in (both @ both.t(), weighted @ weighted.t(), mine[:k] @ theirs[:k].t()):
            columns.append(((left[:, :k] @ kernel) * right[:, :k]).sum(dim=1))
    return torch.stack(columns, dim=1)


def three_step_paths(graph: Graph, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Entries of the cubed normalised adjacency: paths from user to item over another item and another user.

    A path's first or second node that has more than ``MOST_NEIGHBOURS`` neighbours counts with a sample of them, scaled
    up, so that a user costs no more than the square of that.

    Returns:
        float32 on the CPU, shape ``(B,)``.
    """
    if len(users) == 0:
        return torch.zeros(0)
    names, row = np.unique(users.cpu().numpy(), return_inverse=True)
    of_users, of_items = (_rows(side) for side in _sides(graph.to("cpu")))
    two_steps = np.square(np.diff(of_items.indptr).astype(float)).sum() / (graph.n_users - 1)
    most = MOST_NEIGHBOURS["sparse" if two_steps <= SPARSE else "dense"]
    reached = _thinned(of_users[names], most) @ _thinned(of_items, most)
    return torch.from_numpy(_row_products(reached, row, of_items, items.cpu().numpy()))


def _rows(side):
    """A sparse CSR tensor as scipy's."""
    parts = side.values(), side.col_indices(), side.crow_indices()
    return scipy.sparse.csr_matrix(tuple(part.numpy() for part in parts), shape=side.shape)


def _thinned(matrix, most):
    """A CSR matrix with at most ``most`` entries a row, evenly picked and scaled up in the others' stead."""
    counts = np.diff(matrix.indptr)
    kept = np.minimum(counts, most)
    starts = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    count, size = np.repeat(counts, kept), np.repeat(kept, kept)
    number = np.arange(starts[-1]) - np.repeat(starts[:-1], kept)
    place = np.repeat(matrix.indptr[:-1], kept) + -(-number * count // size)
    values = matrix.data[place] * (count / size).astype(np.float32)
    return scipy.sparse.csr_matrix((values, matrix.indices[place], starts), shape=matrix.shape)


def _row_products(left, left_rows, right, right_rows, block=4096):
    """Dot products of rows of two sparse matrices, pair by pair."""
    parts = []
    for start in range(0, len(left_rows), block):
        some = slice(start, start + block)
        parts.append(np.asarray(left[left_rows[some]].multiply(right[right_rows[some]]).sum(axis=1)).ravel())
    return np.concatenate(parts).astype(np.float32)


def _sides(graph):
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
