"""Balanced partitions of edges or nodes into shards, for methods that retrain shards.

Distances are tables of shape ``(n, K)``: ``n`` points, ``K`` shards. A cap is the largest number of points in a shard.
"""

import torch
from sklearn.cluster import kmeans_plusplus

from recbole_unlearn.display import counted
from recbole_unlearn.graph import Graph


def random_shards(n: int, n_shards: int, generator: torch.Generator) -> torch.Tensor:
    """A random shard for each of ``n`` points, shape ``(n,)``; shard sizes differ by one at most."""
    return torch.randperm(n, generator=generator) % n_shards


def balanced_assignment(distances: torch.Tensor, cap: int) -> torch.Tensor:
    """The greedy assignment: over (point, shard) pairs by ascending distance, each point gets the first with room.

    The algorithm is deferred acceptance (Gale and Shapley, 1962) with the distance as both sides' preference: points
    without a place try their next-nearest shard, which keeps the ``cap`` nearest. Without ties the result is the same,
    because the closest of all pairs is in both, but every step is a tensor operation. Ties go to the lower index.

    Args:
        distances: shape ``(n, K)``.
        cap: with ``K * cap >= n``.

    Returns:
        Shard of each point, shape ``(n,)``.
    """
    n, n_shards = distances.shape
    preference = torch.argsort(distances, dim=1, stable=True)
    tried = torch.zeros(n, dtype=torch.long)
    shard = preference[:, 0].clone()
    while True:
        distance = distances.gather(1, shard[:, None]).squeeze(1)
        by_distance = torch.argsort(distance, stable=True)
        ordered = by_distance[torch.argsort(shard[by_distance], stable=True)]  # by shard, then by distance
        sizes = torch.bincount(shard, minlength=n_shards)
        place = torch.arange(n) - torch.repeat_interleave(torch.cumsum(sizes, 0) - sizes, sizes)
        refused = ordered[place >= cap]
        if len(refused) == 0:
            return shard
        tried[refused] += 1
        shard[refused] = preference[refused, tried[refused]]


def edge_shards(
    users: torch.Tensor,
    items: torch.Tensor,
    user_table: torch.Tensor,
    item_table: torch.Tensor,
    n_shards: int,
    cap: int,
    rounds: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """RecEraser's interaction-based partition: around edges, ``dist(e, k) = |p_u - a_k|^2 |q_i - b_k|^2``.

    The first anchors are random edges. Each round assigns all edges (:func:`balanced_assignment`) and moves each anchor
    to the mean of its edges, until nothing changes.

    Args:
        users, items: the edges, shape ``(E,)`` each.
        user_table, item_table: pre-trained embeddings p and q, shape ``(n, d)`` each.
        n_shards, cap, rounds: K, size of the largest shard, and largest number of rounds.
        generator: draws the first anchors.

    Returns:
        Shard of each edge, shape ``(E,)``.
    """
    first = torch.randperm(len(users), generator=generator)[:n_shards]
    anchors = [table[side[first]] for table, side in ((user_table, users), (item_table, items))]
    shard = torch.empty(0, dtype=torch.long)
    for _ in counted(range(rounds), "round of the partition", rounds):
        to_user, to_item = (_squared_distances(t, a) for t, a in zip((user_table, item_table), anchors))
        previous, shard = shard, balanced_assignment(to_user[users] * to_item[items], cap)
        if torch.equal(previous, shard):
            break
        anchors = [
            _means(table, _counts(shard, side, n_shards, len(table)))
            for table, side in ((user_table, users), (item_table, items))
        ]
    return shard


def node_shards(table: torch.Tensor, anchors: torch.Tensor, cap: int, rounds: int) -> torch.Tensor:
    """Balanced k-means of nodes: GraphEraser's BEKM, and RecEraser's user- and item-based partitions.

    Args:
        table: embeddings, shape ``(n, d)``.
        anchors: first centres, shape ``(K, d)``.
        cap, rounds: size of the largest shard, and largest number of rounds.

    Returns:
        Shard of each node, shape ``(n,)``.
    """
    shard, nodes = torch.empty(0, dtype=torch.long), torch.arange(len(table))
    for _ in range(rounds):
        previous, shard = shard, balanced_assignment(_squared_distances(table, anchors), cap)
        if torch.equal(previous, shard):
            break
        anchors = _means(table, _counts(shard, nodes, len(anchors), len(table)))
    return shard


def first_centres(table: torch.Tensor, n_shards: int, seed: int) -> torch.Tensor:
    """Spread starting centres by k-means++, shape ``(K, d)``."""
    centres, _ = kmeans_plusplus(table.numpy(), n_shards, random_state=seed)
    return torch.from_numpy(centres)


def propagated_labels(
    graph: Graph, n_shards: int, caps: tuple[int, int], rounds: int, generator: torch.Generator
) -> torch.Tensor:
    """GraphEraser's BLPA, balanced label propagation: nodes join the shard of most of their neighbours.

    Users take their items' labels, then items take their users' new labels; both at once would swap labels for ever.
    The assignment of a side is greedy by descending number of neighbours in a shard, with random ties. The paper moves
    single nodes and queues those that find no place. Here a whole side moves at once, with the same order and caps and
    without a loop over nodes.

    Args:
        graph: the edges that labels spread on.
        n_shards: K.
        caps: largest number of users, and of items, in a shard.
        rounds: largest number of rounds.
        generator: draws the first labels and breaks ties.

    Returns:
        Shard of each node, users first, shape ``(N,)``.
    """
    items = random_shards(graph.n_items, n_shards, generator)
    users = torch.empty(0, dtype=torch.long)
    for _ in range(rounds):
        previous = users, items
        users = _majority(graph.users, items[graph.items], graph.n_users, n_shards, caps[0], generator)
        items = _majority(graph.items, users[graph.users], graph.n_items, n_shards, caps[1], generator)
        if torch.equal(previous[0], users) and torch.equal(previous[1], items):
            break
    return torch.cat([users, items])


def _majority(nodes, labels, n_nodes, n_shards, cap, generator):
    """The balanced assignment of nodes to the most frequent labels of their edges."""
    votes = torch.bincount(nodes * n_shards + labels, minlength=n_nodes * n_shards).view(n_nodes, n_shards)
    ties = torch.rand(n_nodes, n_shards, generator=generator, dtype=torch.double)
    return balanced_assignment(-votes - ties, cap)


def _squared_distances(table, anchors):
    return (table.square().sum(dim=1, keepdim=True) - 2 * table @ anchors.t() + anchors.square().sum(dim=1)).clamp(
        min=0
    )


def _counts(shard, nodes, n_shards, n_nodes):
    """Number of occurrences of each node in each shard, shape ``(K, n)``."""
    return torch.bincount(shard * n_nodes + nodes, minlength=n_shards * n_nodes).view(n_shards, n_nodes)


def _means(table, counts):
    """Mean row of each shard, shape ``(K, d)``."""
    weights = counts.to(table.dtype)
    return weights @ table / weights.sum(dim=1, keepdim=True).clamp(min=1)
