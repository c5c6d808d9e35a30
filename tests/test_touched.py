"""What a request touches, against dense float64 matrices of what remains."""

from dataclasses import replace

import dense
import numpy as np
import pytest
import torch

from recbole_unlearn.data.request import Request
from recbole_unlearn.encoder import features as of_pairs
from recbole_unlearn.encoder import local
from recbole_unlearn.encoder import spectrum as spectra
from recbole_unlearn.encoder import touched as touching
from recbole_unlearn.encoder.calibrated import CalibratedEncoder
from recbole_unlearn.encoder.features import pair_features
from recbole_unlearn.encoder.local import LayersAt, spectrum_after
from recbole_unlearn.encoder.response import layers_response
from recbole_unlearn.encoder.rows_of_graph import Rows
from recbole_unlearn.encoder.snapshot import Snapshot, layer_weights
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.encoder.touched import Touched
from recbole_unlearn.encoder.touched_features import Features, SpectrumAt
from recbole_unlearn.encoder.whole import WholeTable
from recbole_unlearn.graph import Graph

N_USERS, N_ITEMS, DIMENSION = 60, 50, 5
THIRD = 1 / 3
BACKBONES = {"BPR": [1.0], "LightGCN": [THIRD] * 3, "SGL": [THIRD] * 3, "SimGCL": [0, 0.5, 0.5], "NGCF": []}  # 2 layers


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_graph(n_pairs=500, seed=0):
    """The first and the last user and item have no edge; some nodes have many."""
    users = 1 + ((N_USERS - 2) * torch.rand(n_pairs, generator=seeded(seed)) ** 2).long()
    items = 1 + ((N_ITEMS - 2) * torch.rand(n_pairs, generator=seeded(seed + 1)) ** 2).long()
    return Graph.from_edges(users, items, N_USERS, N_ITEMS)


def chosen(graph, n_edges=6, seed=3):
    """Some edges, and all edges of one user, who leaves."""
    some = torch.randperm(len(graph), generator=seeded(seed))[:n_edges]
    gone = torch.zeros(len(graph), dtype=torch.bool)
    gone[some] = True
    gone |= graph.users == graph.users[len(graph) // 2]
    return graph.users[gone], graph.items[gone]


@pytest.fixture(params=[True, False], ids=["near", "far"])
def touched(request, monkeypatch):
    monkeypatch.setattr(touching, "NEAR", 2.0 if request.param else 0.0)
    graph = random_graph()
    found = Touched(graph, *chosen(graph))
    assert found.is_near == request.param
    return found


def remaining_of(touched):
    users, items = touched.sides
    return touched.graph.without(users[touched.of_user], items[touched.of_item - touched.n_users])


def test_what_remains_is_the_scaled_adjacency_without_the_forgotten_entries(touched):
    graph, nodes = touched.graph, touched.nodes
    remaining = remaining_of(touched)
    assert torch.equal(touched.degrees, remaining.degrees()[nodes]) and (touched.degrees == 0).any()
    before, after = (dense.graph_adjacency(each) for each in (graph, remaining))
    forgotten = np.zeros_like(before)
    ends = nodes[touched.of_user], nodes[touched.of_item]
    for one, other in (ends, ends[::-1]):
        forgotten[one, other] = before[one, other]
    scale = np.ones(len(before))
    scale[nodes] = touched.scale.squeeze(1)
    np.testing.assert_allclose(scale[:, None] * (before - forgotten) * scale, after, atol=1e-6)
    rows = torch.randn(len(nodes), DIMENSION, generator=seeded(1))
    np.testing.assert_allclose(touched.forgotten(rows), forgotten[np.ix_(nodes, nodes)] @ rows.numpy(), atol=1e-5)
    np.testing.assert_allclose(touched.among(rows), before[np.ix_(nodes, nodes)] @ rows.numpy(), atol=1e-5)
    np.testing.assert_allclose(touched.returning.squeeze(1), np.diag(before @ before)[nodes], atol=1e-6)


def as_dense(row, columns, values, shape):
    matrix = np.zeros(shape)
    matrix[row, columns] = values
    return matrix


def test_rows_of_what_remains_are_its_adjacency(touched):
    expected = dense.graph_adjacency(remaining_of(touched))
    nodes = torch.randperm(touched.graph.n_nodes, generator=seeded(5))
    found = as_dense(*touched.remaining(nodes), expected.shape)
    np.testing.assert_allclose(found, expected[nodes], atol=1e-6)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_rows_that_are_thinned_are_those_of_the_remaining_graph_thinned(touched, most):
    remaining = remaining_of(touched)
    nodes = torch.arange(remaining.n_nodes)
    expected, found = (
        rows(nodes, most) for rows in (Rows(remaining.adjacency, remaining.degrees()), touched.remaining)
    )
    for mine, theirs in zip(found[:2], expected[:2]):
        assert torch.equal(mine, theirs)
    torch.testing.assert_close(found[2], expected[2])
    assert torch.bincount(found[0], minlength=len(nodes)).max() == most


@pytest.fixture
def finer(monkeypatch):
    """Small graphs have a spectrum of several bands, and its iteration goes to the end."""
    monkeypatch.setattr(spectra, "NODES_PER_TRIPLET", 4)
    monkeypatch.setattr(spectra, "STEPS", 60)
    monkeypatch.setattr(of_pairs, "LOW_PASSES", (2, 6, 64))
    monkeypatch.setattr(of_pairs, "BANDS", (0, 1, 4, 16))


class Model:
    """A readout of layers with these weights."""

    device = torch.device("cpu")

    def __init__(self, graph, weights):
        self.graph, self.weights, self.n_users = graph, weights, graph.n_users
        self.table = torch.randn(graph.n_nodes, DIMENSION, generator=seeded(2))

    def ego_embeddings(self):
        return self.table

    def forward(self, table, adjacency):
        total, layer = self.weights[0] * table, table
        for weight in self.weights[1:]:
            layer = adjacency @ layer
            total = total + weight * layer
        return total

    def final_embeddings(self):
        return self.forward(self.table, self.graph.adjacency)


def test_the_spectrum_of_what_remains_is_one_step_from_the_one_before(touched, finer):
    """The step in float64: singular vectors among what A_r makes of the old ones."""
    model = Model(touched.graph, [0.25] * 4)
    snapshot, remaining = Snapshot.of(model), dense.graph_adjacency(remaining_of(touched))
    found = spectrum_after(snapshot, touched)
    interactions = remaining[:N_USERS, N_USERS:]
    users, items = snapshot.spectrum.users.double().numpy(), snapshot.spectrum.items.double().numpy()
    left, values, right = np.linalg.svd(users.T @ interactions @ items)
    np.testing.assert_allclose(found.values, values, atol=1e-5)
    of_users, of_items = interactions @ items @ right.T / values, interactions.T @ users @ left / values
    product = of_users @ of_items.T  # no sign of a vector counts in it
    ends = touched.sides
    rows = found.rows.double().numpy()
    mine = rows[: touched.n_users] @ rows[touched.n_users :].T
    np.testing.assert_allclose(mine, product[np.ix_(*ends)], atol=1e-4)
    table = model.table.double().numpy()
    seen = [of_users @ of_users.T @ table[:N_USERS], of_items @ of_items.T @ table[N_USERS:]]
    for vectors, kernel, whole, nodes in (
        (rows[: touched.n_users], found.mine, seen[0], ends[0]),
        (rows[touched.n_users :], found.theirs, seen[1], ends[1]),
    ):
        np.testing.assert_allclose(vectors @ kernel.double().numpy(), whole[nodes], atol=1e-4)


def test_features_without_a_change_are_those_of_the_graph_as_it_is(finer):
    """With nothing forgotten one step leads from a spectrum to itself."""
    graph = random_graph()
    model, none = Model(graph, [0.25] * 4), torch.empty(0, dtype=torch.long)
    touched = Touched(graph, none, none)
    assert (
        len(touched.nodes) == 0
        and Features(spectrum_after(Snapshot.of(model), touched), touched).of_graph.shape[0] == 0
    )


def test_features_of_few_edges_are_nearly_those_of_the_spectrum_of_what_remains(finer):
    graph = random_graph(1500)
    model = Model(graph, [0.25] * 4)
    some = torch.arange(len(graph)) % 300 == 7
    users, items = graph.users[some], graph.items[some]
    remaining, touched = graph.without(users, items), Touched(graph, users, items)
    as_before, expected = (
        pair_features(each, Spectrum.of(each), model.table, users, items) for each in (graph, remaining)
    )
    features = Features(spectrum_after(Snapshot.of(model), touched), touched)
    found = features(torch.zeros(len(touched.nodes), DIMENSION))
    errors = [((other - expected) / expected.std(dim=0)).square().mean(dim=0).sqrt() for other in (found, as_before)]
    assert errors[0].mean() < 0.3 * errors[1].mean() and (errors[0] <= 0.7 * errors[1]).all()
    change = torch.randn(len(touched.nodes), DIMENSION, generator=seeded(7))
    table = model.table.index_add(0, touched.nodes, change)
    exact = Features(SpectrumAt.of(remaining, model.table, touched), touched)(change)
    expected = pair_features(remaining, Spectrum.of(remaining), table, users, items)
    torch.testing.assert_close(exact, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("weights", [[1.0], [0.2, 0.8], [0.25] * 4, [0.0, 1 / 3, 1 / 3, 1 / 3], [0.5, 0, 0, 0, 0.5]])
def test_final_embeddings_of_touched_nodes_are_those_of_all(monkeypatch, touched, weights):
    """Exact if the spectrum is whole: then no power of the adjacency is approximate but by float32."""
    monkeypatch.setattr(spectra, "NODES_PER_TRIPLET", 1)
    monkeypatch.setattr(spectra, "STEPS", 200)
    model = Model(touched.graph, weights)
    snapshot = Snapshot.of(model)
    assert snapshot.weights == pytest.approx(weights, abs=1e-4)
    here, whole = LayersAt(snapshot, touched), WholeTable(model, remaining_of(touched), touched, None)
    for seed in (8, 9):
        rows = torch.randn(len(touched.nodes), DIMENSION, generator=seeded(seed))
        torch.testing.assert_close(here(rows), whole.final(rows)[0], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_weights_of_a_backbones_layers_show_in_its_final_embeddings(prepared, backbone):
    model = prepared(backbone, epochs=1).original
    weights, layers = layer_weights(model.ego_embeddings().detach(), model.final_embeddings(), model.adjacency)
    assert weights == pytest.approx(BACKBONES[backbone], abs=1e-3)
    assert len(layers) == max(2, len(weights))


def test_weights_are_found_among_layers_of_many_nodes_that_resemble_each_other():
    """With products of float32, the weights of 20,000 nodes are wrong in the fourth digit."""
    users, items = (torch.randint(1, 10_000, (40_000,), generator=seeded(each)) for each in (0, 1))
    adjacency = Graph.from_edges(users, items, 10_000, 10_000).adjacency
    layers = [torch.randn(20_000, 32, generator=seeded(2))]
    for _ in range(3):
        layers.append(adjacency @ layers[-1])
    weights, found = layer_weights(layers[0], sum(layers) / 4, adjacency)
    assert weights == pytest.approx([0.25] * 4, abs=1e-6) and len(found) == 4
    assert layer_weights(layers[0], (sum(layers) / 4).relu(), adjacency)[0] == []


def test_few_weak_interactions_of_a_sum_of_layers_are_local(monkeypatch):
    graph = random_graph(1500)
    monkeypatch.setattr(local, "FEW", 0.01)
    snapshot = Snapshot.of(Model(graph, [0.25] * 4))
    few = torch.arange(len(graph)) % 400 == 7
    assert local.is_local(snapshot, Touched(graph, graph.users[few], graph.items[few]))
    assert not local.is_local(replace(snapshot, weights=[]), Touched(graph, graph.users[few], graph.items[few]))
    many = torch.arange(len(graph)) % 50 == 7
    assert not local.is_local(snapshot, Touched(graph, graph.users[many], graph.items[many]))


def test_a_planted_pattern_is_not_local(monkeypatch):
    """It has a leading triplet of its own, which no step from the spectrum before takes out of it."""
    monkeypatch.setattr(local, "FEW", 1.0)
    monkeypatch.setattr(touching, "NEAR", 2.0)
    monkeypatch.setattr(spectra, "NODES_PER_TRIPLET", 4)
    honest = random_graph(1500)
    users, items = torch.cartesian_prod(torch.arange(2, 12), torch.tensor([N_ITEMS - 1, N_ITEMS - 2])).t()
    graph = Graph.from_edges(torch.cat([honest.users, users]), torch.cat([honest.items, items]), N_USERS, N_ITEMS)
    touched = Touched(graph, users, items)
    assert not local.is_local(Snapshot.of(Model(graph, [0.25] * 4)), touched)


@pytest.mark.parametrize("weights", [[1.0], [0.25] * 4, [0.0, 1 / 3, 1 / 3, 1 / 3]], ids=["BPR", "LightGCN", "SimGCL"])
def test_a_local_revision_is_nearly_the_whole_ones(monkeypatch, weights):
    users = 1 + (799 * torch.rand(30_000, generator=seeded(1)) ** 2).long()
    items = 1 + (699 * torch.rand(30_000, generator=seeded(2)) ** 2).long()
    graph = Graph.from_edges(users, items, 800, 700)
    model = Model(graph, weights)
    some = torch.randperm(len(graph), generator=seeded(3))[:20].sort().values
    request = Request(graph.users[some], graph.items[some])
    encoder = CalibratedEncoder(
        lambda features: -features[:, -1], *layers_response(weights, graph.adjacency, DIMENSION, seeded(4)), 0.3, 3
    )
    revised = []
    for few in (1.0, 0.0):
        monkeypatch.setattr(local, "FEW", few)
        monkeypatch.setattr(local, "WEAK", 100)
        revised.append(encoder(model, graph.without(request.users, request.items), request).ego)
    moved = revised[1] - model.table
    assert moved.any() and not torch.equal(*revised)
    assert (revised[0] - revised[1]).norm() < 0.2 * moved.norm()  # of 20 pairs, of a spectrum of 20 triplets


@pytest.mark.parametrize("n_edges", [1, 6, 60])
def test_the_strength_of_a_request_bounds_its_spectral_norm(n_edges):
    graph = random_graph()
    users, items = chosen(graph, n_edges)
    scale = graph.degrees().clamp(min=1).double().rsqrt()
    block = torch.zeros(N_USERS, N_ITEMS, dtype=torch.double)
    block[users, items] = scale[users] * scale[items + N_USERS]
    norm, strength = float(torch.linalg.matrix_norm(block, 2)), Touched(graph, users, items).strength
    assert norm - 1e-6 <= strength < 2.5 * norm
    everything = Touched(graph, graph.users, graph.items)
    assert everything.strength == pytest.approx(1)


def test_a_pair_that_is_no_edge_is_refused():
    graph = random_graph()
    with pytest.raises(ValueError, match="a pair that is none"):
        Touched(graph, graph.users[:1], torch.tensor([N_ITEMS - 1]))  # the last item has no edge


def test_a_large_request_needs_no_snapshot(monkeypatch):
    graph = random_graph(1500)
    some = torch.arange(len(graph)) % 4 == 1
    request = Request(graph.users[some], graph.items[some])
    response = layers_response([0.25] * 4, graph.adjacency, DIMENSION, seeded(4))
    encoder = CalibratedEncoder(lambda features: -features[:, -1], *response, 0.3, 3)
    monkeypatch.setattr(Snapshot, "of", lambda model: pytest.fail("made for nothing"))
    revision = encoder(Model(graph, [0.25] * 4), graph.without(request.users, request.items), request)
    assert revision.ego.isfinite().all()
