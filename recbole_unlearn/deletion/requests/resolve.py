"""Look up requests in a model's data: which rows they name, and which users and items they erase."""

from dataclasses import dataclass

import numpy as np
import torch

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.version.rows import id_of, row_degrees
from recbole_unlearn.graph import Graph


@dataclass(frozen=True)
class Resolution:
    """Requests, resolved together.

    Args:
        found: request id to a list, one entry a row of the request: the number of interactions that the row names in
            each part of the data, with repetitions, or None if it names nobody.
        keep: part of the data to a boolean tensor: whether each edge of its graph remains.
        erased: ``user`` and ``item`` to a boolean array: whether each loses its token.
    """

    found: dict[str, list[dict[str, int] | None]]
    keep: dict[str, torch.Tensor]
    erased: dict[str, np.ndarray]

    def is_empty(self) -> bool:
        """Whether the requests change nothing."""
        return not any(side.any() for side in self.erased.values()) and all(mask.all() for mask in self.keep.values())


def resolve(
    requests: list[DeletionRequest],
    tokens: dict[str, np.ndarray],
    graphs: dict[str, Graph],
    counts: dict[str, torch.Tensor] | None = None,
) -> Resolution:
    """Look up requests in the data.

    Args:
        requests: any number; their union is what goes.
        tokens: of ``user`` and ``item``, object arrays in the order of internal ids.
        graphs: part of the data to its graph, on the CPU.
        counts: part of the data to the number of rows of each edge; only parts in which some edge has several.

    Returns:
        The resolution. Users and items lose their token if a request names them as a whole, or if they lose their last
        edge in all parts.
    """
    rows = [row for request in requests for row in request.rows]
    scopes = np.array([scope for scope, _, _ in rows])
    users = torch.from_numpy(id_of(tokens["user"], [user for _, user, _ in rows]))
    items = torch.from_numpy(id_of(tokens["item"], [item for _, _, item in rows]))
    of = {scope: torch.from_numpy(scopes == scope) for scope in ("interaction", "user", "item")}
    known = {"interaction": (users >= 0) & (items >= 0), "user": users >= 0, "item": items >= 0}
    pairs, whole_users, whole_items = (of[scope] & known[scope] for scope in ("interaction", "user", "item"))
    erased = {
        "user": _mask(len(tokens["user"]), users[whole_users]),
        "item": _mask(len(tokens["item"]), items[whole_items]),
    }

    named_rows, keep = {}, {}
    for part, graph in graphs.items():
        of_part = (counts or {}).get(part)
        degrees = row_degrees(graph, of_part)
        named_rows[part] = torch.zeros(len(rows), dtype=torch.long)
        named_rows[part][pairs] = _rows_of(graph, of_part, users[pairs], items[pairs])
        named_rows[part][whole_users] = degrees[users[whole_users]]
        named_rows[part][whole_items] = degrees[graph.n_users + items[whole_items]]
        named = Graph.from_edges(users[pairs], items[pairs], graph.n_users, graph.n_items)
        gone = erased["user"][graph.users] | erased["item"][graph.items] | named.contains(graph.users, graph.items)
        keep[part] = ~gone

    before = sum(graph.degrees() for graph in graphs.values())
    after = sum(graph.subgraph(keep[part]).degrees() for part, graph in graphs.items())
    vanished = dict(zip(("user", "item"), ((before > 0) & (after == 0)).split([len(t) for t in tokens.values()])))
    erased = {side: (erased[side] | vanished[side]).numpy() for side in erased}
    somebody = whole_users | whole_items | (pairs & (sum(named_rows.values()) > 0))
    cells = zip(somebody.tolist(), *(named_rows[part].tolist() for part in graphs))
    found = {}
    for request in requests:
        found[request.request_id] = [_found(graphs, next(cells)) for _ in request.rows]
    return Resolution(found, keep, erased)


def _found(graphs, cell):
    somebody, *counts = cell
    return dict(zip(graphs, counts)) if somebody else None


def _rows_of(graph, counts, users, items):
    """The number of rows of each pair in a part of the data."""
    position, found = graph.find(users, items)
    return found.long() if counts is None or not len(counts) else torch.where(found, counts[position], 0)


def _mask(size, ids):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[ids] = True
    return mask
