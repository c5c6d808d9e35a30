"""Adversarial edges against a dense reference."""

import numpy as np
import pytest
import torch

from recbole_unlearn.data.attack import least_likely_edges
from recbole_unlearn.graph import Graph
from recbole_unlearn.task import attack_config, prepare_data
from recbole_unlearn.trainer import train_backbone

N_USERS, N_ITEMS = 25, 18


@pytest.fixture
def observed():
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(1, N_USERS, (150,), generator=generator)
    items = torch.randint(1, N_ITEMS, (150,), generator=generator)
    return Graph.from_edges(users, items, N_USERS, N_ITEMS)


def table():
    return torch.randn(N_USERS + N_ITEMS, 6, generator=torch.Generator().manual_seed(1))


def draw(observed, n_edges=60, pool=0.2, seed=2, **named):
    return least_likely_edges(table(), observed, n_edges, pool, torch.Generator().manual_seed(seed), **named)


def pairs(request):
    return list(zip(request.users.tolist(), request.items.tolist()))


def free_scores(observed):
    """Scores of all pairs, infinite where a pair is observed or padding."""
    values = table().double().numpy()
    scores = values[:N_USERS] @ values[N_USERS:].T
    scores[observed.users, observed.items] = np.inf
    scores[0] = scores[:, 0] = np.inf
    return scores


def lowest(scores, user, item, pool):
    """Whether the pair lies in the lowest pool of its user or of its item."""
    of_user = np.argsort(scores[user])[: max(1, int(pool * (N_ITEMS - 1)))]
    of_item = np.argsort(scores[:, item])[: max(1, int(pool * (N_USERS - 1)))]
    return item in of_user or user in of_item


@pytest.mark.parametrize("pool", [0.1, 0.3])
def test_edges_are_among_the_least_likely_of_a_node(observed, pool):
    request = draw(observed, 30, pool)
    scores = free_scores(observed)
    assert 0 < len(request) <= 30
    assert all(lowest(scores, user, item, pool) for user, item in pairs(request))


def test_a_node_drawn_again_gets_its_next_partner(observed):
    scores, expected = free_scores(observed), set()
    for _ in range(3):
        drawn = {(u, int(scores[u].argmin())) for u in range(1, N_USERS)} | {
            (int(scores[:, i].argmin()), i) for i in range(1, N_ITEMS)
        }
        scores[tuple(np.transpose(list(drawn)))] = np.inf
        expected |= drawn
    assert pairs(draw(observed, n_edges=3 * (N_USERS + N_ITEMS - 2), pool=0.0)) == sorted(expected)


def test_tiny_pool_takes_the_least_likely_partner_of_every_node(observed):
    scores, n_nodes = free_scores(observed), N_USERS + N_ITEMS - 2
    request = draw(observed, n_edges=n_nodes, pool=1e-9)
    expected = {(u, int(scores[u].argmin())) for u in range(1, N_USERS)}
    expected |= {(int(scores[:, i].argmin()), i) for i in range(1, N_ITEMS)}
    assert pairs(request) == sorted(expected)


@pytest.mark.parametrize("pool", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("n_edges", [40, 400], ids=["each node once", "each node several times"])
def test_edges_are_unobserved_and_no_padding(observed, n_edges, pool):
    request = draw(observed, n_edges, pool)
    assert not observed.contains(request.users, request.items).any()
    assert request.users.min() > 0 and request.items.min() > 0


@pytest.mark.parametrize("n_free", [0, 1])
def test_a_user_with_nearly_all_items_gets_no_observed_edge(n_free):
    items = torch.arange(1, N_ITEMS - n_free)
    dense_user = Graph.from_edges(torch.ones_like(items), items, N_USERS, N_ITEMS)
    request = draw(dense_user, n_edges=N_USERS + N_ITEMS - 2, pool=0.5)
    assert not dense_user.contains(request.users, request.items).any()
    assert request.items.min() > 0 and (request.users == 1).sum() <= n_free


def test_the_whole_pool_is_used(observed):
    few = N_USERS + N_ITEMS - 2
    drawn = {pair for seed in range(30) for pair in pairs(draw(observed, n_edges=few, pool=0.3, seed=seed))}
    scores = free_scores(observed)
    user_pool = {(u, int(i)) for u in range(1, N_USERS) for i in np.argsort(scores[u])[: int(0.3 * (N_ITEMS - 1))]}
    assert len(user_pool & drawn) > 0.95 * len(user_pool)


def test_edges_are_sorted_and_distinct(observed):
    drawn = pairs(draw(observed, n_edges=500))
    assert drawn == sorted(set(drawn))


def test_blocks_do_not_matter(observed):
    assert pairs(draw(observed, n_edges=40, block=3)) == pairs(draw(observed, n_edges=40))


def test_draw_is_seeded_and_leaves_the_global_generator_alone(observed):
    state = torch.get_rng_state()
    assert pairs(draw(observed)) == pairs(draw(observed)) != pairs(draw(observed, seed=3))
    assert torch.equal(torch.get_rng_state(), state)


def test_table_and_graph_are_not_changed(observed):
    values, users = table(), observed.users.clone()
    least_likely_edges(values, observed, 50, 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(values, table()) and torch.equal(observed.users, users)


@pytest.mark.parametrize("pool", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("n_users, n_items", [(80, 6), (6, 80), (40, 40)])
def test_pools_fit_data_of_any_shape(n_users, n_items, pool):
    generator = torch.Generator().manual_seed(4)
    final = torch.randn(n_users + n_items, 6, generator=generator)
    ends = (torch.randint(1, side, (60,), generator=generator) for side in (n_users, n_items))
    observed = Graph.from_edges(*ends, n_users, n_items)
    request = least_likely_edges(final, observed, 50, pool, generator)
    scores = (final[:n_users] @ final[n_users:].T).double()
    scores[0] = scores[:, 0] = torch.inf
    scores[observed.users, observed.items] = torch.inf
    limit_of_user = scores.sort(1).values[:, max(1, int(pool * (n_items - 1))) - 1]
    limit_of_item = scores.sort(0).values[max(1, int(pool * (n_users - 1))) - 1]
    drawn = scores[request.users, request.items]
    assert ((drawn <= limit_of_user[request.users]) | (drawn <= limit_of_item[request.items])).all()
    assert drawn.isfinite().all() and 25 <= len(request) <= 50


@pytest.mark.parametrize("pool", [0.0, 0.1, 0.5])
def test_a_run_draws_from_its_pool_of_the_attackers_scores(configure, pool):
    config = configure(forget_type="adversarial", forget_attack_pool=pool)
    clean, data = prepare_data(configure()), prepare_data(config)
    attacker = train_backbone(attack_config(config), clean.train, name="attack").model.final_embeddings()
    observed, n_users = Graph.union(*clean.observed), clean.graph.n_users
    scores = (attacker[:n_users] @ attacker[n_users:].T).double()
    scores[0] = scores[:, 0] = torch.inf
    scores[observed.users, observed.items] = torch.inf
    limits = [max(1, int(pool * (size - 1))) - 1 for size in scores.T.shape]
    drawn = scores[data.request.users, data.request.items]
    of_user, of_item = scores.sort(1).values[:, limits[0]], scores.sort(0).values[limits[1]]
    assert ((drawn <= of_user[data.request.users] + 1e-6) | (drawn <= of_item[data.request.items] + 1e-6)).all()
    assert 10 <= len(data.request) <= 16


def test_attacker_is_the_same_lightgcn_whatever_the_backbone_and_its_settings(configure):
    config = attack_config(configure("BPR", forget_attack_epochs=3))
    other = attack_config(configure("SGL", forget_attack_epochs=3, embedding_size=16, learning_rate=0.5, ssl_tau=0.9))
    assert config["model"] == "LightGCN" and config["epochs"] == 3
    assert config.training_settings() == other.training_settings()


def test_attacker_trains_on_the_cpu_so_that_a_run_on_a_gpu_meets_the_same_request(configure):
    config = configure().replace(device=torch.device("cuda"))
    assert attack_config(config)["device"].type == "cpu"
