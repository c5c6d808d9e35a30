"""What a graph alone says of a pair of nodes: its spectrum, its short paths, and a trained table seen through them.

A model's own rows remember the pairs that it was trained on. The graph of what remains does not, nor does a table after
a projection onto that graph's leading singular vectors, which a single edge hardly turns.
"""

import numpy as np
import scipy.sparse
import torch

from recbole_unlearn.encoder.rows_of_graph import Rows
from recbole_unlearn.encoder.spectrum import RANK, Spectrum
from recbole_unlearn.graph import Graph

BANDS = (0, 1, 4, 16, 32)  # where the bands of triplets begin
LOW_PASSES = (8, 32, RANK)  # triplets that a table is projected on
POWERS = (0, 1, 3)  # of the singular values
MOST_NEIGHBOURS = {"sparse": 128, "dense": 16}  # of a path's first two nodes; of more, a sample counts
SPARSE = 16_384  # two-step paths of a user in the mean, at most: in denser data a sample of so many paths says enough


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
    left, right = (side.to(ego.dtype) for side in (spectrum.users[users], spectrum.items[items]))
    bases, values = (spectrum.users.to(ego.dtype), spectrum.items.to(ego.dtype)), spectrum.values.to(ego.dtype)
    seen = [basis.t() @ rows for basis, rows in zip(bases, ego.split([len(basis) for basis in bases]))]
    of_graph = graph_features(graph, spectrum, users, items).to(ego.dtype)
    return torch.cat([of_graph, table_features(left, right, values, *seen)], dim=1)


def graph_features(graph: Graph, spectrum: Spectrum, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """What the graph alone says of pairs, see :func:`features_of_graph`.

    Args:
        graph, spectrum, users, items: see :func:`pair_features`.

    Returns:
        Of the spectrum's type, shape ``(B, n)``.
    """
    degrees = graph.degrees()
    of_pairs = degrees[users], degrees[items + graph.n_users]
    paths = three_step_paths(graph, users, items)
    return features_of_graph(spectrum.users[users], spectrum.items[items], spectrum.values, *of_pairs, paths)


def features_of_graph(
    left: torch.Tensor,
    right: torch.Tensor,
    values: torch.Tensor,
    of_user: torch.Tensor,
    of_item: torch.Tensor,
    paths: torch.Tensor,
) -> torch.Tensor:
    r"""Degrees, spectral sums and three-step paths of pairs.

    With the triplets :math:`(a_k, \sigma_k, b_k)` of a pair's user and item: sums of :math:`a_k b_k` and of
    :math:`\sigma_k a_k b_k` over bands of k; sums of :math:`\sigma_k^p a_k b_k` over all k times
    :math:`\sqrt{d_u d_i}`; the normalised number of paths of length three.

    Args:
        left, right: each pair's rows of the singular vectors, shape ``(B, K)``.
        values: singular values, shape ``(K,)``.
        of_user, of_item: degrees of each pair's ends, shape ``(B,)``.
        paths: what :func:`three_step_paths` gives, shape ``(B,)``.

    Returns:
        Of the spectrum's type, shape ``(B, n)``.
    """
    of_user, of_item = of_user.to(values), of_item.to(values)
    products, rank = left * right, len(values)
    columns = [of_user.log1p(), of_item.log1p()]
    bands = [start for start in BANDS if start < rank] + [rank]
    for start, end in zip(bands, bands[1:]):
        columns += [products[:, start:end].sum(dim=1), products[:, start:end] @ values[start:end]]
    scale = (of_user * of_item).sqrt()
    columns += [(products @ values**power) * scale for power in POWERS]
    columns.append(paths.to(values))
    return torch.stack(columns, dim=1)


def table_features(
    left: torch.Tensor, right: torch.Tensor, values: torch.Tensor, mine: torch.Tensor, theirs: torch.Tensor
) -> torch.Tensor:
    r"""Dot products of a table's low-passed rows.

    Rows are projected onto the first k triplets of both sides together, the same weighed by :math:`\sigma`, and each
    side by its own.

    Args:
        left, right, values: see :func:`features_of_graph`.
        mine, theirs: the singular vectors of users times the table's rows of users, and those of items times those of
            items, shape ``(K, d)`` each.

    Returns:
        Of the table's type, shape ``(B, n)``.
    """
    columns = []
    for k in sorted({min(len(values), low) for low in LOW_PASSES}):
        both = mine[:k] + theirs[:k]
        weighted = both * values[:k, None]
        for kernel in (both @ both.t(), weighted @ weighted.t(), mine[:k] @ theirs[:k].t()):
            columns.append(((left[:, :k] @ kernel) * right[:, :k]).sum(dim=1))
    return torch.stack(columns, dim=1)


def three_step_paths(graph: Graph, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """:func:`paths_among` of a graph.

    Returns:
        float32 on the CPU, shape ``(B,)``.
    """
    return paths_among(Rows(graph.adjacency, graph.degrees()), graph.n_users, users, items)


def paths_among(rows: Rows, n_users: int, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Entries of the cubed normalised adjacency: paths from user to item over another item and another user.

    A path's first or second node that has more than ``MOST_NEIGHBOURS`` neighbours counts with a sample of them, scaled
    up, so that a user costs no more than the square of that.

    Args:
        rows: of the adjacency.
        n_users: of the graph.
        users, items: the pairs, shape ``(B,)``.

    Returns:
        float32 on the CPU, shape ``(B,)``.
    """
    if len(users) == 0:
        return torch.zeros(0)
    two_steps = float(rows.degrees[n_users:].double().square().sum()) / (n_users - 1)
    most = MOST_NEIGHBOURS["sparse" if two_steps <= SPARSE else "dense"]
    (names, row), (ends, column) = (torch.unique(side, return_inverse=True) for side in (users, items + n_users))
    n_nodes = len(rows.degrees)
    first = _as_scipy(*rows(names, most), (len(names), n_nodes))
    middle, place = np.unique(first.indices, return_inverse=True)
    first = scipy.sparse.csr_matrix((first.data, place, first.indptr), shape=(len(names), len(middle)))
    second = _as_scipy(*rows(torch.from_numpy(middle).to(users), most), (len(middle), n_nodes))
    last = _as_scipy(*rows(ends), (len(ends), n_nodes))
    return torch.from_numpy(_row_products(first @ second, row.cpu().numpy(), last, column.cpu().numpy()))


def _as_scipy(row, columns, values, shape):
    """Entries, ordered by their rows, as scipy's matrix."""
    row, columns, values = (part.cpu().numpy() for part in (row, columns, values))
    starts = np.zeros(shape[0] + 1, dtype=np.int32)
    starts[1:] = np.cumsum(np.bincount(row, minlength=shape[0]))
    return scipy.sparse.csr_matrix((values, columns.astype(np.int32), starts), shape=shape)


def _row_products(left, left_rows, right, right_rows, block=4096):
    """Dot products of rows of two sparse matrices, pair by pair."""
    parts = []
    for start in range(0, len(left_rows), block):
        some = slice(start, start + block)
        parts.append(np.asarray(left[left_rows[some]].multiply(right[right_rows[some]]).sum(axis=1)).ravel())
    return np.concatenate(parts).astype(np.float32)
