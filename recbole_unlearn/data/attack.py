"""The paper's adversarial request: edges that a model on clean data finds least likely (section 4.1.4)."""

import torch

from recbole_unlearn.data.request import Request
from recbole_unlearn.graph import Graph
from recbole_unlearn.settings import Count, Settings, ShareOrZero, setting


class AttackSettings(Settings):
    """The attack of forget_type adversarial"""

    forget_attack_epochs: Count = setting(
        20,
        "Epochs of the attack's LightGCN (shipped settings, on the CPU), whose least likely edges are injected.",
    )
    forget_attack_pool: ShareOrZero = setting(
        0.0, "Share of a node's least likely partners to draw one from; 0 takes the least likely."
    )


def least_likely_edges(
    table: torch.Tensor, observed: Graph, n_edges: int, pool: float, generator: torch.Generator, block: int = 1024
) -> Request:
    """Sample nodes, and for each one a partner among those with its lowest scores.

    Users and items are sampled alike, each node at most ``ceil(n_edges / nodes)`` times. A node's candidates are the
    ``pool`` share of the other side with the lowest scores. Its partner is drawn uniformly from the candidates that
    share no observed edge with it and that no earlier round drew.

    Args:
        table: final embeddings of a model trained on clean data, shape ``(N, d)``.
        observed: edges that must not be drawn: training, validation and, except for a sweep's requests, test.
        n_edges: edges wanted; the result holds fewer if draws coincide or a node has no partner left.
        pool: share of the other side to draw from, in [0, 1); 0 takes the least likely partner of each round.
        generator: of the draw.
        block: nodes scored at a time; memory is ``O(block * max(n_users, n_items))``.

    Returns:
        Distinct edges.
    """
    n_users, n_items = observed.n_users, observed.n_items
    nodes = torch.cat([torch.arange(1, n_users), torch.arange(1, n_items) + n_users])  # 0 is padding on both sides
    users, items = table[:n_users], table[n_users:]
    pairs, taken = nodes.new_empty(0), observed
    while n_edges > 0:  # a round draws each node once; more edges than nodes need more rounds
        drawn = nodes[torch.randperm(len(nodes), generator=generator)][:n_edges]
        rank = torch.rand(len(drawn), generator=generator)
        n_edges -= len(drawn)
        for is_user, near, far in ((True, users, items), (False, items, users)):
            chosen = (drawn < n_users) == is_user
            ids, ranks = drawn[chosen] - (0 if is_user else n_users), rank[chosen]
            for some, some_rank in zip(ids.split(block), ranks.split(block)):
                partner, exists = _partner_at_rank(near[some] @ far.t(), some, taken, is_user, pool, some_rank)
                some, partner = some[exists], partner[exists]
                pairs = torch.cat([pairs, some * n_items + partner if is_user else partner * n_items + some])
        pairs = torch.unique(pairs)
        if n_edges > 0:
            taken = Graph.union(observed, Graph.from_edges(pairs // n_items, pairs % n_items, n_users, n_items))
    return Request(pairs // n_items, pairs % n_items)


def _partner_at_rank(scores, ids, observed, is_user, pool, rank):
    """For each row, the partner at the given share of its lowest ``pool``, and whether such a partner exists."""
    near, far = (observed.users, observed.items) if is_user else (observed.items, observed.users)
    row_of = torch.full((max(observed.n_users, observed.n_items),), -1, dtype=torch.long)
    row_of[ids] = torch.arange(len(ids))
    at = row_of[near] >= 0
    scores[row_of[near[at]], far[at]] = torch.inf
    scores[:, 0] = torch.inf
    size = max(1, int(pool * (scores.shape[1] - 1)))
    lowest = scores.topk(size, dim=1, largest=False, sorted=True)
    free = lowest.values.isfinite().sum(dim=1)  # fewer than the pool if a node has few unobserved partners
    chosen = (rank * free).long()
    return lowest.indices.gather(1, chosen[:, None]).squeeze(1), free > 0
