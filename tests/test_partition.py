"""Balanced partitions against the plain greedy algorithm, and their caps."""

import numpy as np
import pytest
import torch

from recbole_unlearn.graph import Graph
from recbole_unlearn.method.sharded.partition import (
    balanced_assignment,
    edge_shards,
    first_centres,
    node_shards,
    propagated_labels,
    random_shards,
)


def generator():
    return torch.Generator().manual_seed(0)


def greedy(distances, cap):
    """All pairs by ascending distance, each point to the first shard below its cap."""
    n, n_shards = distances.shape
    shard, sizes = np.full(n, -1), np.zeros(n_shards, dtype=int)
    for place in np.argsort(distances, axis=None, kind="stable"):
        point, k = divmod(place, n_shards)
        if shard[point] < 0 and sizes[k] < cap:
            shard[point] = k
            sizes[k] += 1
    return shard


@pytest.mark.parametrize(
    "n, n_shards, cap", [(60, 4, 15), (60, 4, 16), (61, 7, 12), (50, 1, 50), (5, 5, 1), (40, 3, 40)]
)
@pytest.mark.parametrize("skew", [1.0, 5.0])
def test_balanced_assignment_is_the_greedy_one(n, n_shards, cap, skew):
    distances = np.random.default_rng(n).random((n, n_shards))
    distances[:, 0] /= skew  # everybody wants the first shard
    shard = balanced_assignment(torch.from_numpy(distances), cap).numpy()
    np.testing.assert_array_equal(shard, greedy(distances, cap))
    assert np.bincount(shard, minlength=n_shards).max() <= cap


def test_equal_distances_fill_all_places():
    shard = balanced_assignment(torch.zeros(12, 3), 4)
    assert torch.bincount(shard).tolist() == [4, 4, 4]


def test_random_shards_are_of_equal_size():
    sizes = torch.bincount(random_shards(103, 10, generator()))
    assert sizes.min() == 10 and sizes.max() == 11


def clusters(n_clusters, size, dimension=3):
    """Tight groups of rows, and which group each row is of, shuffled."""
    group = torch.arange(n_clusters * size)[torch.randperm(n_clusters * size, generator=generator())] % n_clusters
    centres = 10 * torch.randn(n_clusters, dimension, generator=generator())
    return centres[group] + 0.01 * torch.randn(len(group), dimension, generator=generator()), group


def same_partition(first, second):
    return len(torch.unique(torch.stack([first, second]), dim=1)[0]) == len(first.unique()) == len(second.unique())


def test_balanced_k_means_finds_clusters():
    table, group = clusters(4, 10)
    assert same_partition(node_shards(table, first_centres(table, 4, seed=0), 10, 20), group)


def test_balanced_k_means_keeps_its_cap():
    table = torch.cat([torch.zeros(90, 2), torch.ones(10, 2)]) + 0.01 * torch.randn(100, 2, generator=generator())
    assert torch.bincount(node_shards(table, table[[0, 95]], 50, 20)).tolist() == [50, 50]


def test_edges_gather_around_similar_edges():
    """Users and items of two tastes: an edge's distance to an anchor is the product of its ends' distances."""
    user_table, taste = clusters(2, 20)
    item_table, kind = clusters(2, 15)
    users = torch.arange(40).repeat_interleave(5)
    items = torch.stack([torch.nonzero(kind == t).flatten()[:5] for t in taste]).flatten()
    shard = edge_shards(users, items, user_table, item_table, 2, 120, 50, torch.Generator().manual_seed(3))
    assert same_partition(shard, taste[users])


def test_edge_shards_keep_their_cap_and_repeat():
    users, items = (torch.randint(0, 30, (200,), generator=generator()) for _ in range(2))
    tables = torch.randn(2, 30, 4, generator=generator())
    draw = [edge_shards(users, items, *tables, 5, 48, 50, generator()) for _ in range(2)]
    assert torch.equal(*draw) and torch.bincount(draw[0], minlength=5).max() <= 48


def planted(n_groups=5, size=30, n_edges=6000, inside=0.9):
    """A graph whose edges are mostly inside groups of users and items."""
    n_nodes = n_groups * size
    users, items, others = (torch.randint(0, n_nodes, (n_edges,), generator=generator()) for _ in range(3))
    near = items % size + users // size * size
    items = torch.where(torch.rand(n_edges, generator=generator()) < inside, near, others.roll(7))
    return Graph.from_edges(users, items, n_nodes, n_nodes)


def test_labels_spread_inside_groups():
    graph = planted()
    shard = propagated_labels(graph, 5, (33, 33), 20, generator())
    users, items = shard.split([graph.n_users, graph.n_items])
    inside = (users[graph.users] == items[graph.items]).float().mean()
    assert inside > 0.6  # a random partition: 0.2
    assert all(torch.bincount(side, minlength=5).max() <= 33 for side in (users, items))
