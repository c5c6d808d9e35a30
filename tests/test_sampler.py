"""Negative sampling and batches."""

import numpy as np
import pytest
import torch

from recbole_unlearn.data.copies import with_edges, with_extra_edges
from recbole_unlearn.data.sampler import EdgeSampler, rankable, train_loader
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import dataset_graph
from recbole_unlearn.task import prepare_data


@pytest.fixture
def train(configure):
    return prepare_data(configure()).train


def popularity(train):
    return np.bincount(train.inter_feat["item_id"].numpy(), minlength=train.item_num)


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_no_edge_is_ever_drawn(train, distribution):
    users = np.arange(1, train.user_num).repeat(50)
    items = EdgeSampler(train, distribution).sample_by_key_ids(users, 2).numpy()
    assert len(items) == 2 * len(users)
    edges = set(zip(train.inter_feat["user_id"].tolist(), train.inter_feat["item_id"].tolist()))
    assert edges.isdisjoint(zip(np.tile(users, 2).tolist(), items.tolist()))
    assert items.min() > 0 and items.max() < train.item_num


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_draws_follow_the_distribution_over_what_is_no_edge(train, distribution):
    np.random.seed(0)
    user, n_draws = 5, 20000
    drawn = EdgeSampler(train, distribution).sample_by_key_ids(np.full(n_draws, user), 1).numpy()
    weight = np.ones(train.item_num) if distribution == "uniform" else popularity(train).astype(float)
    feat = train.inter_feat
    weight[feat["item_id"][feat["user_id"] == user].numpy()] = weight[0] = 0
    expected = n_draws * weight / weight.sum()
    counts = np.bincount(drawn, minlength=train.item_num)
    possible = expected > 0
    assert not counts[~possible].any()
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    freedom = possible.sum() - 1
    assert statistic < freedom + 4 * np.sqrt(2 * freedom)


def test_draws_are_seeded_by_numpys_generator(train):
    draws = []
    for seed in (0, 0, 1):
        np.random.seed(seed)
        draws.append(EdgeSampler(train).sample_by_key_ids(np.arange(1, 40), 1).tolist())
    assert draws[0] == draws[1] != draws[2]


def with_items(train, user, items):
    return with_extra_edges(train, torch.full_like(items, user), items)


def test_a_user_with_every_item_is_refused(train):
    greedy = with_items(train, train.token2id("user_id", "u3"), torch.arange(1, train.item_num))
    with pytest.raises(UsageError, match="^1 user.s. interacted.*user_inter_num_interval"):
        EdgeSampler(greedy)


def test_rankable_leaves_out_users_with_every_item(train):
    assert len(rankable(train)) == len(train)
    feat = rankable(with_items(train, 5, torch.arange(1, train.item_num))).inter_feat
    left = train.inter_feat["user_id"] != 5
    assert all(torch.equal(feat[field], train.inter_feat[field][left]) for field in train.inter_feat)


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_rankable_leaves_out_users_whom_others_leave_without_a_negative(train, configure, distribution):
    """u has x and y, v has x: without u, nobody has y, which popularity would then never draw for v."""
    nothing = with_edges(train, torch.zeros(len(train), dtype=torch.bool))
    three = with_extra_edges(nothing, torch.tensor([1, 1, 2]), torch.tensor([1, 2, 1]))
    assert len(rankable(three)) == 0
    more = with_extra_edges(three, torch.tensor([3, 4]), torch.tensor([1, 3]))
    batches = train_loader(
        configure(train_neg_sample_args={"distribution": distribution, "sample_num": 1, "alpha": 1.0}), rankable(more)
    )
    assert sum(map(len, batches)) == len(rankable(more)) == 5


def test_a_user_with_every_item_but_one_gets_that_one(train):
    items = torch.arange(1, train.item_num)
    free = items[~dataset_graph(train).contains(torch.full_like(items, 5), items)][0]
    sampler = EdgeSampler(with_items(train, 5, items[items != free]))
    assert set(sampler.sample_by_key_ids(np.full(100, 5), 1).tolist()) == {free.item()}


def test_without_edges_everything_may_be_drawn(train):
    nothing = with_edges(train, torch.zeros(len(train), dtype=torch.bool))
    drawn = EdgeSampler(nothing).sample_by_key_ids(np.full(2000, 5), 1)
    assert set(drawn.tolist()) == set(range(1, train.item_num))


@pytest.mark.parametrize("batch_size", [1, 7, 128, 10**6])
def test_every_row_is_visited_once(configure, train, batch_size):
    batches = list(train_loader(configure(train_batch_size=batch_size), train))
    visited = [pair for b in batches for pair in zip(b["user_id"].tolist(), b["item_id"].tolist())]
    feat = train.inter_feat
    assert sorted(visited) == sorted(zip(feat["user_id"].tolist(), feat["item_id"].tolist()))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_negatives_of_a_batch_are_no_edges(configure, train):
    graph = dataset_graph(train)
    for batch in train_loader(configure(), train):
        assert not graph.contains(batch["user_id"], batch["neg_item_id"]).any()
        assert graph.contains(batch["user_id"], batch["item_id"]).all()


def test_order_changes_from_epoch_to_epoch_and_follows_the_generator(configure, train):
    loader = train_loader(configure(), train)

    def epoch(seed=None):
        if seed is not None:
            loader.generator.manual_seed(seed)
        return [user for batch in loader for user in batch["user_id"].tolist()]

    assert epoch(1) == epoch(1) != epoch()


def test_without_shuffling_rows_come_in_order(configure, train):
    loader = train_loader(configure(shuffle=False), train)
    assert [user for batch in loader for user in batch["user_id"].tolist()] == train.inter_feat["user_id"].tolist()


def test_several_negatives_a_row(configure, train):
    arguments = {"distribution": "uniform", "sample_num": 3}
    batch = next(iter(train_loader(configure(train_neg_sample_args=arguments, train_batch_size=30), train)))
    assert len(batch) == 30 and len(set(zip(batch["user_id"].tolist(), batch["item_id"].tolist()))) == 10
    assert not dataset_graph(train).contains(batch["user_id"], batch["neg_item_id"]).any()
