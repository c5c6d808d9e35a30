"""Rows of nodes that a model has never seen, and of those that lose everything."""

import torch


def never_seen_rows(ego, graph, erased=None):
    """The mean row of the users, and of the items, that have no edge: what training leaves of a node that it never saw.

    An item without edges is still drawn as a negative, so that its row is not zero; it is where there is no such node.

    Args:
        ego (torch.Tensor): 0-layer table, shape ``(N, d)``.
        graph (Graph): training edges.
        erased (torch.BoolTensor): nodes whose rows no training has made, shape ``(N,)``; default none.

    Returns:
        tuple of torch.Tensor: a user's row and an item's row, shape ``(d,)`` each.
    """
    never = graph.degrees().to(ego.device) == 0
    never[[0, graph.n_users]] = False  # RecBole's padding is never drawn
    if erased is not None:
        never &= ~erased
    sides = [graph.n_users, graph.n_items]
    return tuple(
        side[mask].sum(dim=0) / mask.sum().clamp(min=1) for side, mask in zip(ego.split(sides), never.split(sides))
    )


def without_rows(ego, lost, rows):
    """A table in which some nodes keep nothing of their rows.

    Args:
        ego (torch.Tensor): 0-layer table, shape ``(N, d)``.
        lost (tuple of torch.BoolTensor): of each user and of each item, whether its row is to go.
        rows (tuple of torch.Tensor): what a user and an item get instead, shape ``(d,)`` each.

    Returns:
        torch.Tensor: shape ``(N, d)``.
    """
    sides = ego.split([len(mask) for mask in lost])
    return torch.cat([torch.where(mask[:, None], row, side) for side, mask, row in zip(sides, lost, rows)])


def lost_nodes(graph, remaining):
    """The users, and the items, that lose their last edge: a boolean of each user and of each item."""
    lost = (graph.degrees() > 0) & (remaining.degrees() == 0)
    return lost.split([graph.n_users, graph.n_items])
