"""Rows of nodes that a model has never seen, and of those that lose everything."""

from collections.abc import Sequence

import torch

from recbole_unlearn.graph import Graph


def never_seen_rows(
    ego: torch.Tensor, graph: Graph, erased: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean row of the users, and of the items, that have no edge: what training leaves of a node that it never saw.

    An item without edges is still drawn as a negative, so that its row is not zero; it is where there is no such node.

    Args:
        ego: 0-layer table, shape ``(N, d)``.
        graph: training edges.
        erased: boolean; nodes whose rows no training has made, shape ``(N,)``; default none.

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
    """A table in which some nodes keep nothing of their rows.

    Args:
        ego: 0-layer table, shape ``(N, d)``.
        lost: booleans; of each user and of each item, whether its row is to go.
        rows: what a user and an item get instead, shape ``(d,)`` each.

    Returns:
        Shape ``(N, d)``.
    """
    sides = ego.split([len(mask) for mask in lost])
    return torch.cat([torch.where(mask[:, None], row, side) for side, mask, row in zip(sides, lost, rows)])


def lost_nodes(graph: Graph, remaining: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    """The users, and the items, that lose their last edge: a boolean of each user and of each item."""
    lost = (graph.degrees() > 0) & (remaining.degrees() == 0)
    return lost.split([graph.n_users, graph.n_items])
