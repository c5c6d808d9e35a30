"""What a graph says of pairs: its spectrum, its paths and its low passes, against dense float64 references."""

import dense
import numpy as np
import pytest
import torch

from recbole_unlearn.encoder import features as of_pairs
from recbole_unlearn.encoder import spectrum as spectra
from recbole_unlearn.encoder.features import pair_features, three_step_paths
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.graph import Graph

N_USERS, N_ITEMS, DIMENSION = 60, 50, 5
NONE = torch.empty(0, dtype=torch.long)
TO_THE_END = 60  # steps, after which the iteration has converged


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_graph(n_pairs=500, seed=0, n_users=N_USERS, n_items=N_ITEMS):
    """The first and the last user and item have no edge; some nodes have many."""
    users = 1 + ((n_users - 2) * torch.rand(n_pairs, generator=seeded(seed)) ** 2).long()
    items = 1 + ((n_items - 2) * torch.rand(n_pairs, generator=seeded(seed + 1)) ** 2).long()
    return Graph.from_edges(users, items, n_users, n_items)


def table(graph, seed=2):
    return torch.randn(graph.n_nodes, DIMENSION, generator=seeded(seed))


def all_pairs(graph):
    return torch.cartesian_prod(torch.arange(graph.n_users), torch.arange(graph.n_items)).t()


def interactions(graph):
    """The normalised interactions, shape ``(n_users, n_items)``."""
    return dense.graph_adjacency(graph)[: graph.n_users, graph.n_users :]


@pytest.fixture
def finer(monkeypatch):
    """Small graphs have a spectrum of several bands."""
    monkeypatch.setattr(spectra, "NODES_PER_TRIPLET", 4)
    monkeypatch.setattr(of_pairs, "LOW_PASSES", (2, 6, 64))
    monkeypatch.setattr(of_pairs, "BANDS", (0, 1, 4, 16))


def test_the_spectrum_is_that_of_the_dense_interactions(finer):
    graph = random_graph()
    left, values, right = np.linalg.svd(interactions(graph))
    found = Spectrum.of(graph, steps=TO_THE_END)
    rank = len(found.values)
    assert rank == (N_ITEMS - 1) // 4
    np.testing.assert_allclose(found.values, values[:rank], atol=1e-5)
    assert values[rank - 1] - values[rank] > 1e-3, "there is a gap, so that the subspaces are unique"
    for mine, theirs in ((found.users, left[:, :rank]), (found.items, right[:rank].T)):
        mine = mine.double().numpy()
        np.testing.assert_allclose(mine.T @ mine, np.eye(rank), atol=1e-4)
        np.testing.assert_allclose(mine @ mine.T, theirs @ theirs.T, atol=1e-3)
    product = found.users.double().numpy() * found.values.double().numpy() @ found.items.double().numpy().T
    np.testing.assert_allclose(product, left[:, :rank] * values[:rank] @ right[:rank], atol=1e-3)


def test_as_few_steps_as_are_shipped_find_nearly_all_of_it(finer):
    graph = random_graph()
    values = np.linalg.svd(interactions(graph), compute_uv=False)
    found = Spectrum.of(graph).values.double().numpy()
    assert (found <= values[: len(found)] + 1e-5).all() and (found >= 0.97 * values[: len(found)]).all()
    assert (np.diff(found) <= 1e-6).all()


def test_a_spectrum_is_computed_alike_twice_and_without_the_global_generator():
    graph = random_graph(n_users=300, n_items=200)
    state = torch.get_rng_state()
    first = Spectrum.of(graph)
    torch.rand(3)
    second = Spectrum.of(graph)
    for name in ("users", "values", "items"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    torch.set_rng_state(state)
    Spectrum.of(graph)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "n_users, n_items, rank",
    [(2, 2, 1), (2, 900, 1), (32, 32, 1), (66, 65, 2), (400, 129, 4), (3000, 2100, 64)],
)
def test_the_rank_stays_well_below_the_smaller_side(n_users, n_items, rank):
    """The padding does not count."""
    graph = random_graph(4 * (n_users + n_items), n_users=n_users + 1, n_items=n_items + 1)
    spectrum = Spectrum.of(graph, steps=1)
    assert spectrum.values.shape == (rank,)
    assert spectrum.users.shape == (n_users + 1, rank) and spectrum.items.shape == (n_items + 1, rank)
    assert all(part.isfinite().all() for part in (spectrum.users, spectrum.values, spectrum.items))
    assert len(Spectrum.of(graph, rank=3, steps=1).values) == min(rank, 3)


def test_nodes_without_edges_are_in_no_triplet(finer):
    graph = random_graph()
    spectrum = Spectrum.of(graph)
    of_users, of_items = (graph.degrees() == 0).split([N_USERS, N_ITEMS])
    assert of_users[[0, -1]].all() and of_items[[0, -1]].all()
    assert spectrum.users[of_users].abs().max() < 1e-5 and spectrum.items[of_items].abs().max() < 1e-5


def reference(graph, users, items, ego, left, values, right, low_passes, bands):
    """The features from their docstring, pair by pair, in float64."""
    matrix, ego = dense.graph_adjacency(graph), ego.double().numpy()
    degrees, cube = (matrix > 0).sum(axis=1), np.linalg.matrix_power(matrix, 3)
    of_users, of_items = ego[: graph.n_users], ego[graph.n_users :]
    rank, rows = len(values), []
    for user, item in zip(users.tolist(), items.tolist()):
        d_user, d_item = degrees[user], degrees[graph.n_users + item]
        terms = [left[user, k] * right[item, k] for k in range(rank)]
        row = [np.log(1 + d_user), np.log(1 + d_item)]
        ends = [*bands, rank]
        for start, end in zip(ends, ends[1:]):
            row.append(sum(terms[start:end]))
            row.append(sum(values[k] * terms[k] for k in range(start, end)))
        for power in (0, 1, 3):
            row.append(sum(values[k] ** power * terms[k] for k in range(rank)) * np.sqrt(d_user * d_item))
        row.append(cube[user, graph.n_users + item])
        for low in low_passes:
            basis = np.concatenate([left[:, :low], right[:, :low]])
            projected = basis @ (basis.T @ ego)
            weighed = basis @ (values[:low, None] * (basis.T @ ego))
            user_alone = left[:, :low] @ (left[:, :low].T @ of_users)
            item_alone = right[:, :low] @ (right[:, :low].T @ of_items)
            for table_ in (projected, weighed):
                row.append(table_[user] @ table_[graph.n_users + item])
            row.append(user_alone[user] @ item_alone[item])
        rows.append(row)
    return np.array(rows)


def test_features_are_their_docstring(finer):
    graph = random_graph()
    rank = (N_ITEMS - 1) // 4
    left, values, right = np.linalg.svd(interactions(graph))
    left, values, right = left[:, :rank].copy(), values[:rank].copy(), right[:rank].T.copy()
    spectrum = Spectrum(*(torch.from_numpy(part).float() for part in (left, values, right)))
    ego, (users, items) = table(graph), all_pairs(graph)
    chosen = torch.randperm(len(users), generator=seeded(3))[:400]
    users, items = users[chosen], items[chosen]
    expected = reference(graph, users, items, ego, left, values, right, (2, 6, rank), (0, 1, 4))
    features = pair_features(graph, spectrum, ego, users, items)
    assert features.dtype == torch.float32
    np.testing.assert_allclose(features, expected, atol=2e-5)
    double = Spectrum(*(torch.from_numpy(part) for part in (left, values, right)))
    exact = pair_features(graph, double, ego.double(), users, items)
    np.testing.assert_allclose(exact, expected, atol=1e-6)  # the paths are single


def test_features_depend_on_no_sign_of_a_triplet(finer):
    graph = random_graph()
    spectrum, ego, pairs = Spectrum.of(graph), table(graph), all_pairs(graph)
    signs = torch.randint(0, 2, spectrum.values.shape, generator=seeded(4)) * 2.0 - 1
    assert (signs < 0).any() and (signs > 0).any()
    other = Spectrum(spectrum.users * signs, spectrum.values, spectrum.items * signs)
    torch.testing.assert_close(
        pair_features(graph, other, ego, *pairs), pair_features(graph, spectrum, ego, *pairs), rtol=1e-4, atol=1e-5
    )


def test_features_depend_on_no_rotation_of_the_table(finer):
    graph = random_graph()
    spectrum, ego, pairs = Spectrum.of(graph), table(graph), all_pairs(graph)
    rotation = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION, generator=seeded(5))).Q
    features = pair_features(graph, spectrum, ego, *pairs)
    torch.testing.assert_close(pair_features(graph, spectrum, ego @ rotation, *pairs), features, rtol=1e-4, atol=1e-5)
    doubled = pair_features(graph, spectrum, 2 * ego, *pairs)
    assert not torch.allclose(doubled, features, atol=1e-2)


def test_features_depend_on_no_order_of_the_ids(finer):
    graph = random_graph()
    zero, sides = torch.zeros(1, dtype=torch.long), (N_USERS, N_ITEMS)
    renamed = [torch.cat([zero, 1 + torch.randperm(n - 1, generator=seeded(n))]) for n in sides]
    other = Graph.from_edges(renamed[0][graph.users], renamed[1][graph.items], N_USERS, N_ITEMS)
    ego, (users, items) = table(graph), all_pairs(graph)
    place = torch.cat([renamed[0], renamed[1] + N_USERS])
    moved = torch.empty_like(ego).index_copy_(0, place, ego)
    features = pair_features(graph, Spectrum.of(graph, steps=TO_THE_END), ego, users, items)
    again = pair_features(other, Spectrum.of(other, steps=TO_THE_END), moved, renamed[0][users], renamed[1][items])
    torch.testing.assert_close(again, features, rtol=1e-2, atol=2e-3)


def test_a_single_edge_hardly_turns_the_features_of_other_pairs(finer):
    graph = random_graph()
    ego, (users, items) = table(graph), all_pairs(graph)
    other = graph.without(graph.users[:1], graph.items[:1])
    kept = (users != graph.users[0]) & (items != graph.items[0])
    before, after = (
        pair_features(each, Spectrum.of(each, steps=TO_THE_END), ego, users[kept], items[kept])
        for each in (graph, other)
    )
    change = (after - before).square().mean(dim=0).sqrt() / before.std(dim=0)
    assert change.max() < 0.2


def test_no_pairs_have_no_features():
    graph = random_graph()
    spectrum, ego = Spectrum.of(graph), table(graph)
    none, some = (pair_features(graph, spectrum, ego, *pairs) for pairs in ((NONE, NONE), all_pairs(graph)))
    assert none.shape == (0, some.shape[1]) and some.isfinite().all()
    assert three_step_paths(graph, NONE, NONE).shape == (0,)


@pytest.mark.parametrize("n_edges", [0, 1, 2])
@pytest.mark.parametrize("sides", [(2, 2), (3, 2), (40, 50), (70, 90)], ids=str)
def test_graphs_with_hardly_an_edge_have_finite_features(sides, n_edges):
    one = torch.ones(1, dtype=torch.long)
    ends = {0: (NONE, NONE), 1: (one, one), 2: (torch.tensor([1, sides[0] - 1]), torch.tensor([1, sides[1] - 1]))}
    graph = Graph.from_edges(*ends[n_edges], *sides)
    spectrum, (users, items) = Spectrum.of(graph), all_pairs(graph)
    features = pair_features(graph, spectrum, table(graph), users, items)
    assert len(features) == sides[0] * sides[1] and features.isfinite().all()
    if n_edges == 0:
        assert not spectrum.values.any() and not three_step_paths(graph, users, items).any()


def test_pairs_of_nodes_without_edges_have_no_feature_of_a_table(finer):
    graph = random_graph()
    spectrum, (users, items) = Spectrum.of(graph), all_pairs(graph)
    features = pair_features(graph, spectrum, table(graph), users, items)
    alone = (graph.degrees()[users] == 0) & (graph.degrees()[items + N_USERS] == 0)
    assert alone.any() and features[alone].abs().max() < 1e-4


def test_short_paths_are_entries_of_the_cubed_adjacency():
    graph = random_graph()
    users, items = all_pairs(graph)
    cube = np.linalg.matrix_power(dense.graph_adjacency(graph), 3)
    paths = three_step_paths(graph, users, items)
    assert paths.dtype == torch.float32
    np.testing.assert_allclose(paths, cube[users, N_USERS + items], atol=1e-6)


def test_short_paths_of_more_pairs_than_a_block():
    graph = random_graph()
    users, items = (side.repeat(3) for side in all_pairs(graph))
    assert len(users) > 2 * 4096
    cube = np.linalg.matrix_power(dense.graph_adjacency(graph), 3)
    np.testing.assert_allclose(three_step_paths(graph, users, items), cube[users, N_USERS + items], atol=1e-6)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_where_neighbours_are_many_a_sample_counts_for_all_of_them(monkeypatch, kind):
    graph = random_graph(12_000, n_users=400, n_items=300)
    assert graph.degrees().max() > 60
    monkeypatch.setattr(of_pairs, "SPARSE", 10**9 if kind == "sparse" else 0)
    monkeypatch.setattr(of_pairs, "MOST_NEIGHBOURS", {"sparse": 10**6, "dense": 10**6, kind: 16})
    users, items = all_pairs(graph)
    cube = np.linalg.matrix_power(dense.graph_adjacency(graph), 3)[users, graph.n_users + items]
    paths = three_step_paths(graph, users, items).double().numpy()
    busy = cube > 0
    assert not np.allclose(paths, cube, atol=1e-6)
    assert paths[busy].sum() == pytest.approx(cube[busy].sum(), rel=0.05)
    assert np.corrcoef(paths[busy], cube[busy])[0, 1] > 0.9
    monkeypatch.setattr(of_pairs, "MOST_NEIGHBOURS", {"sparse": 16, "dense": 16, kind: 10**6})
    np.testing.assert_allclose(three_step_paths(graph, users, items), cube, atol=1e-6)


def test_which_neighbours_count_depends_on_the_graph_alone(monkeypatch):
    """A pair has the same paths whatever other pairs are asked for."""
    graph = random_graph(12_000, n_users=400, n_items=300)
    monkeypatch.setattr(of_pairs, "MOST_NEIGHBOURS", {"sparse": 16, "dense": 16})
    users, items = all_pairs(graph)
    some = torch.randperm(len(users), generator=seeded(6))[:50]
    alone = torch.cat([three_step_paths(graph, users[at : at + 1], items[at : at + 1]) for at in some.tolist()])
    torch.testing.assert_close(three_step_paths(graph, users, items)[some], alone)
