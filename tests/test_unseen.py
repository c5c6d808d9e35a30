"""What pairs and nodes never seen look like: features against dense float64 products, the draws, the regression."""

import math
from types import SimpleNamespace

import dense
import numpy as np
import pytest
import torch

import recbole_unlearn.encoder.target
from recbole_unlearn.encoder.rows import lost_nodes, never_seen_rows, without_rows
from recbole_unlearn.encoder.target import (
    BEYOND_FIRST_LAYER,
    FAR,
    UnseenScores,
    inductive_features,
    never_seen_pairs,
    propagated_layers,
)
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import pair_scores

N_USERS, N_ITEMS, DIMENSION = 9, 7, 4
NONE = torch.empty(0, dtype=torch.long)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_graph(n_pairs=25, seed=0, n_users=N_USERS, n_items=N_ITEMS):
    """The first and the last user and item have no edge."""
    users = torch.randint(1, n_users - 1, (n_pairs,), generator=seeded(seed))
    items = torch.randint(1, n_items - 1, (n_pairs,), generator=seeded(seed + 1))
    return Graph.from_edges(users, items, n_users, n_items)


def table(graph, seed=2):
    return torch.randn(graph.n_nodes, DIMENSION, generator=seeded(seed))


def all_pairs(graph):
    return torch.cartesian_prod(torch.arange(graph.n_users), torch.arange(graph.n_items)).t()


def features_of(graph, ego, users, items):
    return inductive_features(propagated_layers(ego, graph.adjacency), graph.degrees(), graph.n_users, users, items)


def test_features_are_products_of_the_propagated_layers_and_log_degrees():
    graph = random_graph()
    ego, (users, items) = table(graph), all_pairs(graph)
    matrix, values = dense.graph_adjacency(graph), ego.double().numpy()
    layers = [np.linalg.matrix_power(matrix, l) @ values for l in (1, 2, 3)]
    columns = [(of_user[users] * of_item[items + N_USERS]).sum(axis=1) for of_user in layers for of_item in layers]
    degrees = (matrix > 0).sum(axis=1)
    columns += [np.log1p(degrees[users]), np.log1p(degrees[items + N_USERS])]
    features = features_of(graph, ego, users, items)
    assert features.shape == (N_USERS * N_ITEMS, 11)
    np.testing.assert_allclose(features, np.stack(columns, axis=1), atol=1e-5)


def test_a_row_of_its_own_is_no_part_of_a_nodes_layers():
    """What a node gets of its own row came back from its neighbours: never at once, nor after three steps."""
    graph = random_graph()
    ego, node = table(graph), int(graph.users[0])
    change = torch.zeros_like(ego)
    change[node] = 10
    before, after = (propagated_layers(x, graph.adjacency)[node] for x in (ego, ego + change))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    returned = np.linalg.matrix_power(dense.graph_adjacency(graph), 2)[node, node] * 10
    np.testing.assert_allclose(after[1] - before[1], returned, atol=1e-5)


def test_rows_of_nodes_without_edges_are_in_no_feature():
    graph = random_graph()
    ego, (users, items) = table(graph), all_pairs(graph)
    alone = graph.degrees() == 0
    assert alone[[0, N_USERS - 1, N_USERS, -1]].all()
    other = torch.where(alone[:, None], 100.0, ego)
    features = features_of(graph, other, users, items)
    assert torch.equal(features, features_of(graph, ego, users, items))
    assert not features[alone[users] | alone[items + N_USERS], :9].any()


def test_a_row_out_of_reach_is_in_no_feature():
    """On a path u1 - i1 - u2 - i2 - ... a row goes three steps far."""
    users = torch.tensor([1, 2, 2, 3, 3, 4, 4, 5])
    items = torch.tensor([1, 1, 2, 2, 3, 3, 4, 4])
    graph = Graph.from_edges(users, items, 6, 5)
    ego = table(graph)
    other = ego.clone()
    other[1] += 10  # u1 reaches i1, u2, i2
    users, items = all_pairs(graph)
    moved = (features_of(graph, other, users, items) != features_of(graph, ego, users, items)).any(dim=1)
    reached = torch.isin(users, torch.tensor([1, 2])) | torch.isin(items, torch.tensor([1, 2]))
    assert moved.any() and not moved[~reached].any()


def trained_on(graph):
    """A stand-in for a model: its score of a pair is the dot product of the first layers, a feature."""
    ego = table(graph)
    tables = {"ego_embeddings": lambda: ego, "final_embeddings": lambda: graph.adjacency @ ego}
    return SimpleNamespace(graph=graph, adjacency=graph.adjacency, **tables)


@pytest.fixture(scope="module")
def fitted():
    """A stand-in model, held-out pairs, and the regression fitted on them."""
    everything = random_graph(1500, n_users=60, n_items=50)
    held_out = torch.rand(len(everything), generator=seeded(4)) < 0.3
    model, held_out = trained_on(everything.subgraph(~held_out)), everything.subgraph(held_out)
    return model, held_out, UnseenScores.fit(model, held_out, seeded(5))


def test_a_relation_of_scores_and_features_is_found(fitted, monkeypatch):
    model, _, unseen = fitted
    monkeypatch.setattr(recbole_unlearn.encoder.target, "FAR", math.inf)  # the relation is one of first layers
    users, items = all_pairs(model.graph)
    expected = pair_scores(model.final_embeddings(), model.graph.n_users, users, items)
    predicted = unseen(features_of(model.graph, model.ego_embeddings(), users, items))
    assert predicted.dtype == expected.dtype and predicted.shape == expected.shape
    assert (
        predicted - expected
    ).square().mean() < 0.1 * expected.var()  # of all pairs, most of which it was not fitted on


def test_where_the_first_layer_disagrees_it_is_left_out(fitted):
    model, _, unseen = fitted
    features = features_of(model.graph, model.ego_embeddings(), *all_pairs(model.graph))
    first_layer = torch.ones(11, dtype=torch.bool)
    first_layer[BEYOND_FIRST_LAYER] = False
    assert first_layer.sum() == 5  # with any layer of the other side
    values = features.numpy()
    one = torch.from_numpy(unseen.boosters[0].predict(values)).float()
    other = torch.from_numpy(unseen.boosters[1].predict(values[:, BEYOND_FIRST_LAYER])).float()
    far = (one - other).abs() > FAR * unseen.spread
    assert far.any() and not far.all()
    torch.testing.assert_close(unseen(features), torch.where(far, other, one))


def test_fitting_twice_is_the_same(fitted):
    model, held_out, unseen = fitted
    assert UnseenScores.fit(model, held_out, seeded(5)).to_plain() == unseen.to_plain()
    assert UnseenScores.fit(model, held_out, seeded(6)).to_plain() != unseen.to_plain()


def test_as_text_and_back(fitted):
    model, _, unseen = fitted
    features = features_of(model.graph, model.ego_embeddings(), *all_pairs(model.graph))
    again = UnseenScores.from_plain(unseen.to_plain())
    assert torch.equal(again(features), unseen(features)) and unseen(features).std() > 0


def test_no_pairs_have_no_scores(fitted):
    model, _, unseen = fitted
    features = features_of(model.graph, model.ego_embeddings(), NONE, NONE)
    assert features.shape == (0, 11) and unseen(features).shape == (0,)


def test_never_seen_pairs_are_held_out_or_no_interactions_and_those_of_the_seed():
    graph = random_graph(200, n_users=30, n_items=20)
    held_out = random_graph(80, seed=7, n_users=30, n_items=20).without(graph.users, graph.items)
    final = table(graph)
    users, items = never_seen_pairs(final, graph, held_out, seeded())
    assert not graph.contains(users, items).any()
    assert users.min() > 0 and items.min() > 0
    size = len(held_out)
    assert torch.equal(users[:size], held_out.users) and torch.equal(items[:size], held_out.items)
    others = users[size:], items[size:]
    assert not held_out.contains(*others).any()
    assert size < len(others[0]) <= 2 * size  # where two nodes' least likely partners are one pair, it counts once
    scores = (final[:30] @ final[30:].t())[others]
    assert scores[:size].mean() > scores[size:].mean() + scores.std()  # the random ones, and the least likely

    first, second, other = (torch.stack(never_seen_pairs(final, graph, held_out, seeded(s))) for s in (1, 1, 2))
    assert torch.equal(first, second) and not (first.shape == other.shape and torch.equal(first, other))


def test_more_held_out_pairs_than_nodes():
    graph = random_graph(10)
    held_out = random_graph(60, seed=7).without(graph.users, graph.items)
    assert len(held_out) > graph.n_nodes
    users, items = never_seen_pairs(table(graph), graph, held_out, seeded())
    assert not graph.contains(users, items).any() and held_out.contains(users, items).sum() == len(held_out)


def test_never_seen_rows_are_means_over_nodes_without_edges():
    graph = Graph.from_edges(torch.tensor([1, 3, 3]), torch.tensor([2, 2, 4]), 6, 5)
    ego = table(graph)
    ego[[0, 6]] = 1000  # padding does not count
    user, item = never_seen_rows(ego, graph)
    values = ego.double().numpy()
    np.testing.assert_allclose(user, values[[2, 4, 5]].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(item, values[[6 + 1, 6 + 3]].mean(axis=0), atol=1e-6)


def test_never_seen_rows_are_zero_where_every_node_has_edges():
    users, items = torch.cartesian_prod(torch.arange(1, 6), torch.arange(1, 4)).t()
    everybody = Graph.from_edges(users, items, 6, 5)  # item 4 has none
    ego = table(everybody)
    user, item = never_seen_rows(ego, everybody)
    assert not user.any() and torch.equal(item, ego[6 + 4])


def test_without_rows_replaces_exactly_these():
    graph = random_graph()
    ego, user, item = table(graph), torch.full((DIMENSION,), 5.0), torch.full((DIMENSION,), 6.0)
    lost = torch.zeros(N_USERS, dtype=torch.bool), torch.zeros(N_ITEMS, dtype=torch.bool)
    lost[0][[1, 4]] = lost[1][[3]] = True
    before = ego.clone()
    result = without_rows(ego, lost, (user, item))
    expected = before.clone()
    expected[[1, 4]], expected[N_USERS + 3] = user, item
    assert torch.equal(result, expected) and torch.equal(ego, before)


def test_lost_nodes_had_edges_and_have_none():
    graph = Graph.from_edges(torch.tensor([1, 1, 2, 3]), torch.tensor([1, 2, 2, 3]), 5, 6)
    users, items = lost_nodes(graph, graph.without(torch.tensor([1, 3]), torch.tensor([1, 3])))
    assert torch.nonzero(users).flatten().tolist() == [3] and len(users) == 5
    assert torch.nonzero(items).flatten().tolist() == [1, 3] and len(items) == 6
    assert not any(side.any() for side in lost_nodes(graph, graph))
