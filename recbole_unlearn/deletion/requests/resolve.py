"""Look up requests in a model's data: which rows they name, and which users and items they erase."""

from dataclasses import dataclass

import numpy as np
import torch

from recbole_unlearn.data.request import named_edges
from recbole_unlearn.data.tokens import ids_of
from recbole_unlearn.deletion.requests.request import DeletionRequest
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
    users = torch.from_numpy(ids_of(tokens["user"], [user for _, user, _ in rows]))
    items = torch.from_numpy(ids_of(tokens["item"], [item for _, _, item in rows]))
    ids = {"user": users, "item": items}
    whole = {side: torch.from_numpy(scopes == side) & (of_side >= 0) for side, of_side in ids.items()}
    known = whole["user"] | whole["item"] | ((users >= 0) & (items >= 0))
    keep, numbers = {}, {}
    for part, graph in graphs.items():
        gone, of_known = named_edges(graph, users[known], items[known], (counts or {}).get(part))
        keep[part] = ~gone
        numbers[part] = torch.zeros(len(rows), dtype=torch.long).masked_scatter_(known, of_known)

    before = torch.stack([graph.degrees() for graph in graphs.values()]).sum(dim=0)
    lost = torch.stack([graph.subgraph(~keep[part]).degrees() for part, graph in graphs.items()]).sum(dim=0)
    vanished = ((before > 0) & (lost == before)).split([len(names) for names in tokens.values()])
    erased = {
        side: mask.index_fill(0, ids[side][whole[side]], True).numpy() for side, mask in zip(("user", "item"), vanished)
    }
    somebody = whole["user"] | whole["item"] | (torch.stack([*numbers.values()]).sum(dim=0) > 0)
    cells = zip(somebody.tolist(), *(of_part.tolist() for of_part in numbers.values()))
    entries = (dict(zip(graphs, each)) if is_somebody else None for is_somebody, *each in cells)
    found = {request.request_id: [next(entries) for _ in request.rows] for request in requests}
    return Resolution(found, keep, erased)
