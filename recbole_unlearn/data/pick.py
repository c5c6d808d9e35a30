"""Which users, items or interactions a sampled request picks: any, the active, or the core of the graph."""

import math
from typing import Literal

import torch

from recbole_unlearn.graph import Graph

Pick = Literal["random", "active", "inactive", "core", "edge"]
HIGHEST = ("active", "core")
POOL = 1 / 4  # share of all that a request other than a random one is drawn from


def picked_nodes(graph: Graph, side: str, pick: str, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw users or items that have training edges, without replacement.

    ``active`` and ``inactive`` nodes are drawn from the quarter with the most, or the fewest, edges. ``core`` and
    ``edge`` nodes are drawn from the quarter whose edges lead to the most, or the fewest, further edges: a core user
    has many interactions with popular items, an edge user few with rare ones. The words are those of CURE4Rec (Chen et
    al., NeurIPS 2024, arXiv 2408.14393), whose code counts interactions alone and takes the extreme ones without a
    draw. A draw gives another request for another seed, as simulated requests need. Equal nodes come in random order.

    Args:
        graph: training edges.
        side: ``user`` or ``item``.
        pick: see above; ``random`` draws from all.
        count: number of nodes. If it is more than a quarter, the pool is exactly as large.
        generator: of the draw.

    Returns:
        Ids, shape ``(count,)``, or all if there are fewer.
    """
    (own, n_own), (other, n_other) = (graph.users, graph.n_users), (graph.items, graph.n_items)
    if side == "item":
        own, n_own, other, n_other = other, n_other, own, n_own
    degree = torch.bincount(own, minlength=n_own)
    present = torch.nonzero(degree).flatten()
    scores = degree
    if pick in ("core", "edge"):
        scores = torch.zeros_like(degree).index_add_(0, own, torch.bincount(other, minlength=n_other)[other])
    return present[_drawn(scores[present], pick, count, generator)]


def picked_edges(graph: Graph, pick: str, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw training edges, without replacement, by the same words as :func:`picked_nodes`.

    An edge is as active as its user. It is in the core if the product of its ends' degrees is large: an active user's
    interaction with a popular item.

    Returns:
        Whether each edge is drawn, boolean, shape ``(E,)``.
    """
    degrees = graph.degrees()
    scores = degrees[graph.users]
    if pick in ("core", "edge"):
        scores = scores * degrees[graph.n_users + graph.items]
    mask = torch.zeros(len(graph), dtype=torch.bool)
    mask[_drawn(scores, pick, count, generator)] = True
    return mask


def _drawn(scores, pick, count, generator):
    """Places of ``count`` drawn entries of the scores."""
    order = torch.randperm(len(scores), generator=generator)
    if pick == "random":
        return order[:count]
    ranked = order[torch.argsort(scores[order], descending=pick in HIGHEST, stable=True)]
    pool = ranked[: max(count, math.ceil(POOL * len(scores)))]
    return pool[torch.randperm(len(pool), generator=generator)[:count]]
