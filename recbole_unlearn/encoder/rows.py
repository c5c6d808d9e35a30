"""Rows of nodes that a model has never seen, and of nodes that lose all their edges."""

from collections.abc import Sequence

import torch

from recbole_unlearn.graph import Graph


def never_seen_rows(
    ego: torch.Tensor, graph: Graph, erased: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean row of users without edges, and of items without edges: what training makes of a node it never sees.

    Training still draws an item without edges as a negative, so its row is not zero. Without such nodes the mean is 0.

    Args:
        ego: 0-layer table, shape ``(N, d)``.
        graph: training edges.
        erased: boolean, nodes whose rows do not come from training, shape ``(N,)``; default none.

    Returns:
        A user's row and an item's row, shape ``(d,)`` each.
    """
    never = graph.degrees().to(ego.device) == 0
    never[[0, graph.n_users]] = False  # RecBole's padding is never drawn
    if erased is not None:
        never &= ~erased
    sides = [graph.n_users, graph.n_items]
    return tuple(
        side[mask].sum(dim=0) / mask.sum().clamp(min=1) for side, mask in zip(ego.split(sides), never.split(sides))
    )


def without_rows(ego: torch.Tensor, lost: Sequence[torch.Tensor], rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """The table with the rows of some nodes replaced.

    Args:
        ego: 0-layer table, shape ``(N, d)``.
        lost: whether to replace the row of each user and of each item, boolean.
        rows: the new row of a user and that of an item, shape ``(d,)`` each.

    Returns:
        Shape ``(N, d)``.
    """
    sides = ego.split([len(mask) for mask in lost])
    return torch.cat([torch.where(mask[:, None], row, side) for side, mask, row in zip(sides, lost, rows)])


def lost_nodes(graph: Graph, remaining: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each user, and each item, loses its last edge, boolean."""
    lost = (graph.degrees() > 0) & (remaining.degrees() == 0)
    return lost.split([graph.n_users, graph.n_items])
