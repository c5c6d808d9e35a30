"""Interactions as a sparse matrix, the Gram matrix of its columns, and what a request changes in that.

``X`` has a row for each user and a column for each item, with 1 for an edge; ``X' X`` counts the users that two items
have in common.
"""

import numpy as np
import scipy.sparse as sp
import torch

from recbole_unlearn.graph import Graph


def interactions(graph: Graph, users: torch.Tensor | None = None) -> sp.csr_matrix:
    """The rows of ``X`` of some users, by default of all, as 64-bit numbers on the CPU.

    Args:
        users: ids, shape ``(B,)``, any order.

    Returns:
        Shape ``(B, n_items)``.
    """
    users = torch.arange(graph.n_users, device=graph.device) if users is None else users
    rows, items = (side.cpu().numpy() for side in graph.items_of(users))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(users)))])
    return sp.csr_matrix((np.ones(len(items)), items, starts), shape=(len(users), graph.n_items))


def sparse_rows(graph: Graph, users: torch.Tensor) -> torch.Tensor:
    """The rows of ``X`` of some users as a sparse CSR tensor on the graph's device, shape ``(B, n_items)``, float64."""
    rows, items = graph.items_of(users)
    starts = torch.zeros(len(users) + 1, dtype=torch.int64, device=users.device)
    starts[1:] = torch.cumsum(torch.bincount(rows, minlength=len(users)), 0)
    ones = torch.ones(len(items), dtype=torch.float64, device=users.device)
    return torch.sparse_csr_tensor(starts, items, ones, size=(len(users), graph.n_items))


def cooccurrences(graph: Graph) -> np.ndarray:
    """``X' X``: the number of users of each two items, int32, shape ``(n_items, n_items)``.

    Costs the sum of the users' squared degrees.
    """
    rows = interactions(graph).astype(np.int32)
    return (rows.T @ rows).toarray()


def forgotten_edges(graph: Graph, remaining: Graph) -> Graph:
    """The edges of a graph that a subgraph lacks; costs as much as the degrees of the users who lose some."""
    everybody = torch.arange(graph.n_users, device=graph.device)
    before, after = (end - first for first, end in (each.bounds(everybody) for each in (graph, remaining)))
    users = (before != after).nonzero().squeeze(1)
    rows, items = graph.items_of(users)
    edges = Graph(users[rows], items, graph.n_users, graph.n_items)
    return edges.subgraph(~remaining.contains(edges.users, edges.items))


def lost_cooccurrences(gone: Graph, remaining: Graph) -> tuple[np.ndarray, sp.csr_matrix]:
    """The rows of ``X' X`` that change when edges go, and what each of their entries loses.

    With ``X = X_r + D``, the loss is ``X' X - X_r' X_r = D' X + X_r' D``. It is symmetric, so that its entries outside
    of these rows lie in the same columns.

    Args:
        gone: the forgotten edges, ``D``.
        remaining: the others, ``X_r``.

    Returns:
        Items, ascending, shape ``(s,)``, and losses, int32, shape ``(s, n_items)``.
    """
    users, items = torch.unique(gone.users), torch.unique(gone.items).cpu().numpy()
    lost, kept = interactions(gone, users), interactions(remaining, users)
    losses = lost[:, items].T @ (lost + kept) + kept[:, items].T @ lost
    return items, losses.astype(np.int32).tocsr()


def take_away(counts: torch.Tensor, items: np.ndarray, losses: sp.csr_matrix) -> None:
    """Subtract, in place, what :func:`lost_cooccurrences` found from ``X' X``, int32, shape ``(n_items, n_items)``."""
    entries = losses.tocoo()
    changed = np.zeros(len(counts), dtype=bool)
    changed[items] = True
    outside = ~changed[entries.col]
    rows, columns = items[entries.row], entries.col
    rows, columns = np.concatenate([rows, columns[outside]]), np.concatenate([columns, rows[outside]])
    values = np.concatenate([entries.data, entries.data[outside]])
    place = [torch.from_numpy(side.astype(np.int64)).to(counts.device) for side in (rows, columns)]
    counts[place[0], place[1]] -= torch.from_numpy(values).to(counts.device)
