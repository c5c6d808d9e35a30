"""What pairs and nodes never seen look like: the draws of examples, the regression on them, the rows of nodes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_unlearn.encoder import target
from recbole_unlearn.encoder.features import pair_features
from recbole_unlearn.encoder.rows import lost_nodes, never_seen_rows, without_rows
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.encoder.target import (
    Examples,
    UnseenScores,
    decoys,
    features_of,
    held_out_pairs,
    model_scores,
    never_seen,
)
from recbole_unlearn.graph import Graph

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


def model_on(graph, seed=2):
    """A stand-in for a trained model, whose final embeddings are the mean of its first two layers."""
    ego = table(graph, seed)
    return SimpleNamespace(
        graph=graph,
        n_users=graph.n_users,
        n_items=graph.n_items,
        device=ego.device,
        ego_embeddings=lambda: ego,
        final_embeddings=lambda: (ego + graph.adjacency @ ego) / 2,
    )


def edgeless(n_users=N_USERS, n_items=N_ITEMS):
    return Graph.from_edges(NONE, NONE, n_users, n_items)


# Decoys


def test_decoys_are_distinct_pairs_of_real_nodes_without_an_interaction():
    graph = random_graph(400, n_users=60, n_items=50)
    users, items = decoys(model_on(graph), [graph], 900, seeded())
    assert 0.15 * 900 < len(users) <= 900
    assert users.min() >= 1 and users.max() < 60 and items.min() >= 1 and items.max() < 50
    assert len(torch.unique(users * 50 + items)) == len(users)
    assert not graph.contains(users, items).any()


def test_decoys_are_of_all_nodes_and_of_all_scores_but_mostly_unlikely():
    graph = random_graph(3000, n_users=400, n_items=300)
    model = model_on(graph)
    users, items = decoys(model, [graph], 2000, seeded())
    everything = model_scores(model, all_pairs(graph)).sort().values
    rank = torch.searchsorted(everything, model_scores(model, (users, items))) / len(everything)
    assert 0.5 < (rank < 0.5).float().mean() < 0.95
    shares = torch.histc(rank, 20, 0, 1) / len(rank)
    assert shares[0] > 0.15 and (shares > 0.004).all(), "lowest twentieth, and every other"
    assert (rank < 0.002).any() and (rank > 0.99).any()
    for side, n_nodes in ((users, 400), (items, 300)):
        assert len(torch.unique(side)) > 0.7 * n_nodes


def test_decoys_are_those_of_the_generator():
    graph = random_graph(400, n_users=60, n_items=50)
    model = model_on(graph)
    first, second, other = (torch.stack(decoys(model, [graph], 200, seeded(seed))) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_decoys_are_not_the_observed_ones_but_of_the_model_whatever_it_saw():
    graph = random_graph(400, n_users=60, n_items=50)
    users, items = decoys(model_on(graph), [edgeless(60, 50)], 2000, seeded())
    assert graph.contains(users, items).any(), "what is excluded is what the caller names"


def test_decoys_know_the_edges_of_several_graphs_as_those_of_one():
    graph = random_graph(400, n_users=60, n_items=50)
    first = torch.arange(len(graph)) % 3 == 0
    parts = [graph.subgraph(some) for some in (first, ~first)]
    of_one, of_two = (decoys(model_on(graph), observed, 900, seeded()) for observed in ([graph], parts))
    assert all(map(torch.equal, of_one, of_two))


def test_more_nodes_than_a_block_and_more_partners_than_candidates(monkeypatch):
    monkeypatch.setattr(target, "BLOCK", 16)
    graph = random_graph(400, n_users=60, n_items=50)
    in_blocks = decoys(model_on(graph), [graph], 300, seeded())
    monkeypatch.setattr(target, "BLOCK", 10_000)
    assert all(map(torch.equal, in_blocks, decoys(model_on(graph), [graph], 300, seeded())))
    monkeypatch.setattr(target, "CANDIDATES", 5)
    users, items = decoys(model_on(graph), [graph], 300, seeded())
    counts = torch.bincount(items)
    assert len(users) > 50 and counts.max() > 3 * counts[1:].float().mean(), "some partners come up with many"


@pytest.mark.parametrize("sides", [(2, 2), (2, 9), (9, 2), (3, 4)], ids=str)
def test_tiny_graphs_have_the_decoys_that_there_are(sides):
    graph = edgeless(*sides)
    users, items = decoys(model_on(graph), [graph], 500, seeded())
    assert len(users) == (sides[0] - 1) * (sides[1] - 1) and users.min() == items.min() == 1
    full = Graph.from_edges(users, items, *sides)
    assert len(full) == len(users)
    assert all(len(side) == 0 for side in decoys(model_on(full), [full], 500, seeded()))
    assert all(len(side) == 0 for side in decoys(model_on(graph), [graph], 0, seeded()))


# Examples


def test_a_model_teaches_its_own_scores_of_pairs_that_it_never_saw():
    graph = random_graph(400, n_users=60, n_items=50)
    model = model_on(graph)
    users, items = decoys(model, [graph], 200, seeded())
    found = never_seen(model, (users, items))
    final, spectrum = model.final_embeddings().double().numpy(), Spectrum.of(graph)
    expected = pair_features(graph, spectrum, model.ego_embeddings(), users, items)
    torch.testing.assert_close(found.features, expected)
    torch.testing.assert_close(features_of(model, graph, (users, items)), expected)
    np.testing.assert_allclose(found.scores, (final[users] * final[60 + items]).sum(axis=1), atol=1e-5)
    assert not found.features.requires_grad and not found.scores.requires_grad
    none = never_seen(model, (NONE, NONE))
    assert none.features.shape == (0, expected.shape[1]) and none.scores.shape == (0,)


def test_held_out_pairs_are_drawn_but_for_so_many(monkeypatch):
    held_out = random_graph(90, seed=7, n_users=60, n_items=50)
    everything = set(zip(held_out.users.tolist(), held_out.items.tolist()))
    users, items = held_out_pairs(held_out, seeded())
    assert set(zip(users.tolist(), items.tolist())) == everything and len(users) == len(held_out)
    monkeypatch.setattr(target, "N_DECOYS", 40)
    first, second, other = (torch.stack(held_out_pairs(held_out, seeded(seed))) for seed in (1, 1, 2))
    assert first.shape == (2, 20) and torch.equal(first, second) and not torch.equal(first, other)
    assert set(zip(*first.tolist())) < everything and len(set(zip(*first.tolist()))) == 20
    assert len(held_out_pairs(edgeless(), seeded())[0]) == 0


# The regression


@pytest.fixture(scope="module")
def taught():
    """Examples of a known relation of features and scores, the regression on half of them, and the other half."""
    features = torch.randn(3000, 5, generator=seeded())
    scores = 2 * features[:, 0] - (features[:, 1] > 0.5).float() + 0.1 * torch.randn(3000, generator=seeded(1))
    halves = [Examples(features[half], scores[half]) for half in (slice(0, 1500), slice(1500, 3000))]
    return halves[0], UnseenScores.fit(halves[0]), halves[1]


def test_a_relation_of_scores_and_features_is_found(taught):
    _, unseen, others = taught
    predicted = unseen(others.features)
    assert predicted.dtype == others.scores.dtype and predicted.shape == others.scores.shape
    assert (predicted - others.scores).square().mean() < 0.05 * others.scores.var()


def test_several_examples_are_fitted_together(taught):
    examples, unseen, others = taught
    parts = [Examples(examples.features[some], examples.scores[some]) for some in (slice(0, 400), slice(400, None))]
    assert UnseenScores.fit(*parts).to_plain() == unseen.to_plain()
    both = UnseenScores.fit(examples, others)
    assert (both(others.features) - others.scores).square().mean() < (
        unseen(others.features) - others.scores
    ).square().mean()


def test_fitting_twice_is_the_same(taught):
    examples, unseen, others = taught
    assert UnseenScores.fit(examples).to_plain() == unseen.to_plain()
    assert UnseenScores.fit(others).to_plain() != unseen.to_plain()


def test_as_text_and_back(taught):
    _, unseen, others = taught
    plain = unseen.to_plain()
    assert set(plain) == {"booster"} and isinstance(plain["booster"], str)
    again = UnseenScores.from_plain(plain)
    assert torch.equal(again(others.features), unseen(others.features)) and unseen(others.features).std() > 0


def test_a_few_examples_teach_their_mean():
    scores = torch.tensor([1.0, 2.0, 6.0])
    unseen = UnseenScores.fit(Examples(torch.randn(3, 5, generator=seeded()), scores))
    assert unseen(torch.zeros(2, 5)).tolist() == pytest.approx([3, 3])


def test_no_pairs_have_no_scores(taught):
    _, unseen, _ = taught
    assert unseen(torch.zeros(0, 5)).shape == (0,)


def test_features_of_another_type_or_device_have_scores_alike(taught):
    _, unseen, others = taught
    double = unseen(others.features.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), unseen(others.features))


# Rows of nodes


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
