"""The calibrated encoder against dense float64 solutions of its minimisation, and the method that it serves."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import dense
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recbole_unlearn.calibration import fit_encoder
from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges_of
from recbole_unlearn.data.request import Request, edges_where
from recbole_unlearn.encoder import least_change, spectrum, touched
from recbole_unlearn.encoder import response as response_of_rows
from recbole_unlearn.encoder.calibrated import (
    CalibratedEncoder,
    CalibratedTable,
    Revision,
    closing_settings,
)
from recbole_unlearn.encoder.features import pair_features
from recbole_unlearn.encoder.least_change import SPREAD, LeastChange, Moments
from recbole_unlearn.encoder.response import layers_response, readout_response
from recbole_unlearn.encoder.rows import never_seen_rows
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.files import checkpoint
from recbole_unlearn.graph import Graph
from recbole_unlearn.method import METHODS

BACKBONES = ["BPR", "LightGCN", "SGL", "SimGCL"]
N_USERS, N_ITEMS, DIMENSION = 7, 6, 3
N_NODES = N_USERS + N_ITEMS
NONE = torch.empty(0, dtype=torch.long)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Problem:
    """Embeddings, remaining pairs, and gaps of forgotten pairs, at random; user 1 and item 1 keep no pair."""

    def __init__(self, dtype=torch.float32):
        users = torch.randint(2, N_USERS, (14,), generator=seeded())
        items = torch.randint(2, N_ITEMS, (14,), generator=seeded(1))
        self.degrees = Graph.from_edges(users, items, N_USERS, N_ITEMS).degrees()
        self.users, self.items = torch.tensor([1, 2, 2, 3, 3, 5]), torch.tensor([2, 2, 3, 3, 1, 4])
        self.final = torch.randn(N_NODES, DIMENSION, generator=seeded(2)).to(dtype)
        self.row_response = (0.3 + torch.rand(N_NODES, generator=seeded(3))).to(dtype)
        self.spread_cost = (0.2 + torch.rand(N_NODES, generator=seeded(4))).to(dtype)
        self.gaps = torch.rand(len(self.users), generator=seeded(5)).to(dtype)

    def least_change(self, weight, gaps=None):
        inverses = [torch.linalg.inv(moment) for moment in Moments.of(self.final, self.degrees, N_USERS).spread(None)]
        metric = LeastChange(self.final, N_USERS, inverses, self.degrees, self.row_response, self.spread_cost)
        return metric(self.users, self.items + N_USERS, self.gaps if gaps is None else gaps, weight)

    def jacobian(self):
        """Of the forgotten pairs' scores in the rows, shape ``(F, N d)``."""
        final, response = self.final.double().numpy(), self.row_response.double().numpy()
        matrix = np.zeros((len(self.users), N_NODES, DIMENSION))
        for row, (user, item) in enumerate(zip(self.users.tolist(), (self.items + N_USERS).tolist())):
            matrix[row, user] = response[user] * final[item]
            matrix[row, item] = response[item] * final[user]
        return matrix.reshape(len(self.users), -1)

    def cost_matrix(self, weight):
        """Of the penalty, shape ``(N d, N d)``: a block ``nu 2 d_v c_v C_v`` for each node."""
        final, degrees = self.final.double().numpy(), self.degrees.double().numpy()
        of_users, of_items = (moment(side, counts) for side, counts in sides(final, degrees))
        matrix = np.zeros((N_NODES, DIMENSION, N_NODES, DIMENSION))
        for node in range(N_NODES):
            scored_with = of_items if node < N_USERS else of_users
            matrix[node, :, node] = weight * 2 * degrees[node] * float(self.spread_cost[node]) * scored_with
        return matrix.reshape(N_NODES * DIMENSION, -1)

    def solution(self, weight):
        """By the normal equations of the rows that may move."""
        jacobian, cost = self.jacobian(), self.cost_matrix(weight)
        free = np.repeat(self.degrees.numpy() > 0, DIMENSION)
        change = np.zeros(N_NODES * DIMENSION)
        normal = jacobian[:, free].T @ jacobian[:, free] + cost[np.ix_(free, free)]
        change[free] = np.linalg.solve(normal, -jacobian[:, free].T @ self.gaps.double().numpy())
        return change.reshape(N_NODES, DIMENSION)

    def objective(self, change, weight):
        flat = np.asarray(change, dtype=float).ravel()
        return (
            np.square(self.gaps.double().numpy() + self.jacobian() @ flat).sum()
            + flat @ self.cost_matrix(weight) @ flat
        )


def sides(final, degrees):
    return (final[:N_USERS], degrees[:N_USERS]), (final[N_USERS:], degrees[N_USERS:])


def moment(side, counts):
    """The second moment in float64, from its formula."""
    of_pairs = sum(count * np.outer(row, row) for count, row in zip(counts, side)) / max(1, counts.sum())
    of_nodes = sum(np.outer(row, row) for row in side[1:]) / (len(side) - 1)
    half = (of_pairs + of_nodes) / 2
    return half + SPREAD * np.trace(half) / len(half) * np.eye(len(half))


@pytest.fixture
def exact(monkeypatch):
    """Let the solver go on to the end, on embeddings that are exact."""
    monkeypatch.setattr(touched, "NEAR", 0)
    monkeypatch.setattr(least_change, "TOLERANCE", 1e-12)
    monkeypatch.setattr(least_change, "ITERATIONS", 500)


SINGLE, DOUBLE = torch.float32, torch.float64


@pytest.mark.parametrize("weight, dtype, error", [*((w, SINGLE, 1e-4) for w in (0.01, 0.3, 10.0)), (0.3, DOUBLE, 1e-9)])
def test_least_change_is_the_minimum(exact, weight, dtype, error):
    problem = Problem(dtype)
    np.testing.assert_allclose(problem.least_change(weight), problem.solution(weight), atol=error)


@pytest.mark.parametrize("weight", [0.01, 0.3, 10.0])
def test_as_exact_as_it_is_shipped_it_gains_most_of_what_there_is(weight):
    problem = Problem()
    changes = np.zeros((N_NODES, DIMENSION)), problem.least_change(weight), problem.solution(weight)
    none, shipped, least = (problem.objective(change, weight) for change in changes)
    assert none - shipped > 0.85 * (none - least) > 0


def ends_of(users, items, n_users, n_nodes):
    """Whether each node is an end of a pair."""
    return torch.zeros(n_nodes, dtype=torch.bool).index_fill(0, torch.cat([users, items + n_users]), True)


def test_only_ends_of_the_pairs_that_keep_other_pairs_move_and_without_gaps_nobody():
    problem = Problem()
    named = ends_of(problem.users, problem.items, N_USERS, N_NODES)
    assert named[[1, N_USERS + 1]].all() and not problem.degrees[[1, N_USERS + 1]].any()
    assert torch.equal(problem.least_change(0.3).any(dim=1), named & (problem.degrees > 0))
    assert not problem.least_change(0.3, torch.zeros_like(problem.gaps)).any()


def test_second_moments_are_their_formula_and_positive_definite():
    problem = Problem()
    found = Moments.of(problem.final, problem.degrees, N_USERS).spread(None)
    for (side, counts), mine in zip(sides(problem.final, problem.degrees), found):
        np.testing.assert_allclose(mine, moment(side.double().numpy(), counts.double().numpy()), atol=1e-5)
    flat = torch.zeros(10, 4)
    flat[:, 0] = 1  # embeddings on a line
    some, none = torch.ones(10), torch.zeros(10)
    for embeddings, counts, n_users in ((flat, some, 5), (flat * 0, some, 5), (flat, none, 5), (flat, some, 1)):
        for matrix in Moments.of(embeddings, counts, n_users).spread(None):
            assert torch.linalg.eigvalsh(matrix).min() > 0


def test_second_moments_without_edges_are_those_of_what_remains():
    problem = Problem(torch.float64)
    graph = Graph.from_edges(*torch.randint(1, 6, (2, 40), generator=seeded()), N_USERS, N_ITEMS)
    remaining = graph.without(graph.users[::3], graph.items[::3])
    lost = graph.degrees() - remaining.degrees()
    nodes = lost.nonzero().squeeze(1)
    found = Moments.of(problem.final, graph.degrees(), N_USERS)
    found = found.without(problem.final[nodes], lost[nodes], int((nodes < N_USERS).sum()))
    own = torch.randn(DIMENSION, DIMENSION, generator=seeded(1), dtype=torch.float64)
    for left, right in zip(found.spread(own), Moments.of(problem.final, remaining.degrees(), N_USERS).spread(own)):
        torch.testing.assert_close(left, right)


def powers(model):
    matrix = dense.graph_adjacency(model.graph)
    return [np.linalg.matrix_power(matrix, l) for l in range(model.n_layers + 1)]


@pytest.mark.parametrize("backbone", ["LightGCN", "SimGCL"])
def test_response_is_that_of_the_readout(prepared, monkeypatch, backbone):
    """Random signs err by ``sum_j!=i R_ij^2`` in the variance of a diagonal, and twice the square of it in the cost's."""
    n_probes = 2**14
    monkeypatch.setattr(response_of_rows, "N_PROBES", n_probes)
    model = prepared(backbone, epochs=1, eval_step=1).original
    of_layers = powers(model)
    readout = np.mean(of_layers if backbone == "LightGCN" else of_layers[1:], axis=0)
    row_response, spread_cost = readout_response(model, seeded())
    squares, n_users = np.square(readout), model.n_users
    of_users, of_items = squares[:, :n_users].sum(axis=1), squares[:, n_users:].sum(axis=1)  # of the signs of each side
    sides = np.stack([of_users, of_items])
    own = np.where(np.arange(len(readout)) < n_users, *sides)
    response_error = np.sqrt((own - np.diag(squares)) / n_probes)
    cost_error = np.sqrt(2 * ((sides**2).sum(axis=0) - (squares**2).sum(axis=1)) / n_probes)
    assert (np.abs(row_response.numpy() - np.diag(readout)) <= 5 * response_error + 1e-5).all()
    assert (np.abs(spread_cost.numpy() - np.diag(readout.T @ readout)) <= 5 * cost_error + 1e-5).all()
    assert response_error.max() < 0.1 * np.diag(readout)[model.graph.degrees() > 0].mean()  # so that it says something


@pytest.mark.parametrize("backbone", ["BPR", "LightGCN", "SimGCL"])
def test_response_of_layers_is_that_of_the_readout_by_the_same_signs(prepared, backbone):
    model = prepared(backbone, epochs=1, eval_step=1).original
    n_layers = getattr(model, "n_layers", 0)
    weights = [0.0, *[1 / n_layers] * n_layers] if backbone == "SimGCL" else [1 / (n_layers + 1)] * (n_layers + 1)
    found = layers_response(weights, model.adjacency, model.table_shape[1], seeded())
    for mine, theirs in zip(found, readout_response(model, seeded())):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("with_own_rows", [True, False], ids=["LightGCN", "SimGCL"])
def test_the_shipped_number_of_signs_is_enough_where_degrees_are_high(with_own_rows):
    n_users, n_items, generator = 1200, 800, np.random.default_rng(0)
    users, items = (torch.from_numpy(side) for side in np.nonzero(generator.random((n_users, n_items)) < 0.1))
    graph = Graph.from_edges(users, items, n_users, n_items)
    matrix = dense.graph_adjacency(graph)
    readout = np.mean([np.linalg.matrix_power(matrix, layer) for layer in range(0 if with_own_rows else 1, 4)], axis=0)
    weights = torch.from_numpy(readout).float()
    model = SimpleNamespace(
        ego_embeddings=lambda: torch.zeros(len(readout), 64),
        forward=lambda ego, _: weights @ ego,
        adjacency=None,
        n_users=n_users,
        is_linear=lambda: True,
    )
    response, truth = readout_response(model, seeded())[0].double().numpy(), np.diag(readout)
    assert (response > 0).mean() > 0.95 and np.median(np.abs(response / truth - 1)) < 0.2


def test_response_of_a_model_without_propagation_is_one(prepared):
    model = prepared("BPR", epochs=1, eval_step=1).original
    row_response, spread_cost = readout_response(model, seeded())
    assert (row_response == 1).all() and (spread_cost == 1).all()


def test_response_of_a_readout_that_is_not_linear_is_its_derivative_at_the_table(prepared, monkeypatch):
    """Of rows of length 1: ``(I - e e^T) / |E|``, whose signs err by its entries off the diagonal."""
    model = prepared("BPR", epochs=1, eval_step=1).original
    monkeypatch.setattr(model, "forward", lambda ego, adjacency: F.normalize(ego, dim=1))
    length, width = model.ego_embeddings().norm(dim=1), model.ego_embeddings().shape[1]
    row_response, spread_cost = readout_response(model, seeded())
    error = 2**0.5 / (width * length) / (response_of_rows.N_PROBES / width) ** 0.5
    known = length > 0
    assert ((row_response - (1 - 1 / width) / length).abs() <= 5 * error)[known].all()
    assert ((spread_cost - (1 - 1 / width) / length**2).abs() <= 5 * error / length)[known].all()


@pytest.fixture
def fitted(prepared):
    """A trained model, a request on it, and its encoder: ``fitted("BPR", weight=1e-3)``."""

    def fit(backbone="LightGCN", weight=0.3, passes=2, **changes):
        run = prepared(backbone, unlearn_methods="UnlearnRec", **{"epochs": 8, "forget_ratio": 0.1, **changes})
        config = run.config.replace(ie_change_weight=weight, ie_passes=passes)
        run.encoder, _ = fit_encoder(config, run.original, run.data.valid)
        run.n_users, run.request, run.remaining = run.original.n_users, run.data.request, run.data.remaining_graph
        return run

    return fit


def scores_of(run, ego):
    """The forgotten pairs' scores with a table on the remaining graph, in float64 from the formula."""
    matrix = dense.graph_adjacency(run.remaining)
    table = ego.detach().double().numpy()
    n_layers = getattr(run.original, "n_layers", 0)
    final = dense.mean_propagation([matrix] * n_layers, table)
    return (final[run.request.users] * final[run.request.items + run.n_users]).sum(axis=1)


def unseen_scores_of(run, ego):
    """What the encoder's regression expects of the forgotten pairs, by a table and what remains."""
    of_graph = Spectrum.of(run.remaining)
    return run.encoder.scores(pair_features(run.remaining, of_graph, ego, run.request.users, run.request.items))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_only_rows_of_the_request_move(fitted, backbone):
    run = fitted(backbone, forget_ratio=0.02)
    revision = run.encoder(run.original, run.remaining, run.request)
    moved = (revision.ego != run.original.ego_embeddings()).any(dim=1)
    named = ends_of(run.request.users, run.request.items, run.n_users, len(moved))
    assert moved.any() and not moved[~named].any() and not named.all()
    assert not revision.ego.requires_grad


@pytest.mark.parametrize("backbone", ["BPR", "LightGCN"])
def test_forgotten_pairs_come_to_their_targets(fitted, exact, backbone):
    run = fitted(backbone, weight=1e-4, passes=5, forget_ratio=0.03)
    revision = run.encoder(run.original, run.remaining, run.request)
    own = scores_of(run, run.original.ego_embeddings())
    aim = np.minimum(revision.targets.numpy(), own)  # a pair that is below its target already stays
    before, after = own - aim, scores_of(run, revision.ego) - aim
    assert (before > 0.05).sum() > 2 and revision.matters.all()
    assert np.abs(after).max() < 0.05 * before.max()


@pytest.mark.parametrize("passes", [1, 3])
def test_a_larger_weight_moves_less(fitted, exact, passes):
    run = fitted(passes=passes)
    ego, lengths, gaps = run.original.ego_embeddings().detach(), [], []
    for weight in (1e-3, 0.3, 30.0, 1e6):
        run.encoder.weight = weight
        revision = run.encoder(run.original, run.remaining, run.request)
        lengths.append(float((revision.ego - ego).norm()))
        gaps.append(np.square(scores_of(run, revision.ego) - revision.targets.double().numpy()).sum())
    assert lengths == sorted(lengths, reverse=True) and gaps == sorted(gaps)
    assert lengths[-1] < 1e-3 * lengths[0] and gaps[0] < 0.5 * gaps[-1]


def test_targets_are_what_the_rows_before_the_last_pass_expect_of_unseen_pairs(fitted, monkeypatch):
    monkeypatch.setattr(spectrum, "NODES_PER_TRIPLET", 4)  # of one triplet, nothing is learned of the table
    run = fitted()
    ego, asked = run.original.ego_embeddings().detach(), []
    for passes in (1, 2, 3):
        run.encoder.passes = passes
        revision = run.encoder(run.original, run.remaining, run.request)
        torch.testing.assert_close(revision.targets, unseen_scores_of(run, ego))
        ego = revision.ego
        asked.append(revision.targets)
    assert asked[0].std() > 0 and not torch.equal(asked[0], asked[1])


@pytest.mark.parametrize("model, dataset", [("LightGCN", "ml-1m"), ("SGL", "gowalla"), ("SimGCL", "yelp2018")])
def test_gaps_are_closed_as_the_settings_say(model, dataset):
    shipped = Config(model, dataset, config_dict={"gpu_id": ""})
    assert closing_settings(shipped) == {"weight": 0.3, "passes": 3}
    given = shipped.replace(ie_change_weight=0.5, ie_passes=4)
    assert closing_settings(given) == {"weight": 0.5, "passes": 4}


def test_further_passes_come_nearer_to_targets_kept(fitted, exact):
    distances = []
    for passes in (1, 2, 4):
        run = fitted(weight=1e-4, passes=passes, forget_ratio=0.03)
        revision = run.encoder(run.original, run.remaining, run.request)
        aim = np.minimum(revision.targets.numpy(), scores_of(run, run.original.ego_embeddings()))
        distances.append(np.linalg.norm(scores_of(run, revision.ego) - aim))
    assert distances[1] < 0.5 * distances[0] and distances[2] < 0.5 * distances[1]


def test_forgetting_raises_no_score_by_itself(fitted, exact):
    run = fitted(weight=1e-4, passes=5)
    revision = run.encoder(run.original, run.remaining, run.request)
    own, after = (scores_of(run, ego) for ego in (run.original.ego_embeddings(), revision.ego))
    assert (revision.targets.numpy() > own + 0.05).any(), "some pair is below its target"
    assert (after < own + 0.05).all() and (after < own - 0.05).any()


def test_pairs_below_what_is_expected_change_nothing(fitted):
    run = fitted()
    run.encoder.scores = lambda features: features.new_full((len(features),), 1e6)
    revision = run.encoder(run.original, run.remaining, run.request)
    assert torch.equal(revision.ego, run.original.ego_embeddings())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_empty_request_is_the_same_table(fitted, backbone):
    run = fitted(backbone)
    revision = run.encoder(run.original, run.data.graph, Request(NONE, NONE))
    assert torch.equal(revision.ego, run.original.ego_embeddings())
    assert len(revision.targets) == len(revision.matters) == 0


def test_pairs_with_an_end_that_leaves_do_not_matter_and_it_stays(fitted):
    run = fitted()
    user, graph = 3, run.data.graph
    gone = (graph.users == user) | (torch.arange(len(graph)) % 10 == 0)
    run.request, remaining = Request(graph.users[gone], graph.items[gone]), graph.subgraph(~gone)
    revision = run.encoder(run.original, remaining, run.request)
    degrees = remaining.degrees()
    expected = (degrees[run.request.users] > 0) & (degrees[run.request.items + run.n_users] > 0)
    assert torch.equal(revision.matters, expected) and 0 < expected.sum() < len(expected)
    assert torch.equal(revision.ego[user], run.original.ego_embeddings()[user])


def test_whatever_is_kept_in_a_file_revises_alike(fitted, tmp_path):
    run = fitted()
    checkpoint.save(tmp_path / "encoder.pth", run.encoder.to_plain())
    kept = checkpoint.load(tmp_path / "encoder.pth")
    again = CalibratedEncoder.from_plain(kept, weight=0.3, passes=2)
    first, second = (encoder(run.original, run.remaining, run.request) for encoder in (run.encoder, again))
    for name in ("ego", "targets", "matters"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert not torch.equal(first.ego, run.original.ego_embeddings())


def test_nodes_that_the_encoder_is_without_do_not_move(fitted):
    run = fitted()
    lost = torch.zeros(run.data.graph.n_nodes, dtype=torch.bool)
    user, item = run.request.users[0], run.request.items[0] + run.n_users
    lost[torch.stack([user, item])] = True
    ego, kept, smaller = run.original.ego_embeddings(), copy.deepcopy(run.encoder.to_plain()), run.encoder.without(lost)
    revised = [encoder(run.original, run.remaining, run.request).ego for encoder in (run.encoder, smaller)]
    moved = [(table != ego).any(dim=1) for table in revised]
    assert moved[0][lost].all() and not moved[1][lost].any() and moved[1].any()
    for name, before in run.encoder.to_plain().items():
        if name != "scores":
            after = smaller.to_plain()[name]
            assert torch.equal(after, torch.where(lost, 0, before)) and torch.equal(before, kept[name]), name


def test_the_table_of_a_revision():
    ego, final = torch.randn(5, 2, generator=seeded()), torch.zeros(5, 2)
    revision = Revision(ego, torch.tensor([0.0, 1.0, -2.0, 5.0]), torch.tensor([True, True, True, False]))
    module = CalibratedTable(revision, final)
    assert torch.equal(module(None), ego) and module(None).requires_grad
    scores = torch.tensor([0.5, -7.0, 1.0, 99.0], requires_grad=True)
    loss = module.unlearning_loss(scores, torch.tensor([0, 2, 1, 3]))
    assert loss.item() == pytest.approx((0.5 * 0.5**2 + (5 - 0.5) + 0 + 0) / 4)  # Huber: half the square up to 1
    loss.backward()
    assert scores.grad.tolist() == pytest.approx([0.5 / 4, -1 / 4, 0, 0])


TARGETS = ["unseen", "negative"]


def unlearned(run):
    """Stage to model."""
    method = METHODS["UnlearnRec"](run.config, run.data, run.original)
    method.prepare()
    return {stage.name: stage.model for stage in method.unlearn()}


@pytest.mark.parametrize("target", TARGETS)
def test_a_user_who_leaves_has_the_row_of_one_never_seen(prepared, target):
    run = prepared(unlearn_methods="UnlearnRec", ie_target=target)
    graph, user = run.data.graph, 5
    never = edges_where(graph, torch.isin(graph.users, torch.tensor([1, 2])))  # the model has never seen these users
    graph = graph.without(never.users, never.items)
    request = edges_where(graph, torch.isin(graph.users, torch.tensor([user])))
    train = with_edges_of(run.data.train, graph)
    run.data = replace(run.data, graph=graph, train=train, request=request)
    run.original = run.original.revised(run.original.ego_embeddings(), graph)
    row, _ = never_seen_rows(run.original.ego_embeddings(), graph)
    np.testing.assert_allclose(row.detach(), run.original.ego_embeddings()[[1, 2]].mean(dim=0).detach(), atol=1e-6)
    for stage, model in unlearned(run).items():
        assert torch.equal(model.ego_embeddings()[user], row), stage


WHOLE = {
    "nothing": lambda graph: torch.zeros(len(graph), dtype=torch.bool),
    "everything": lambda graph: torch.ones(len(graph), dtype=torch.bool),
    "all of a user's pairs": lambda graph: graph.users == 5,
    "all of an item's pairs": lambda graph: graph.items == 5,
    "all but a few pairs": lambda graph: torch.arange(len(graph)) % 40 > 0,
    "all of most users": lambda graph: graph.users > 3,
}


@pytest.mark.parametrize("teacher", ["twin", "none"])
@pytest.mark.parametrize("what", WHOLE)
def test_whatever_is_forgotten_the_tables_are_finite_and_twice_the_same(prepared, what, teacher):
    run = prepared(unlearn_methods="UnlearnRec", ie_teacher=teacher)
    graph = run.data.graph
    run.data = replace(run.data, request=edges_where(graph, WHOLE[what](graph)))
    first, second = unlearned(run), unlearned(run)
    assert first.keys() == second.keys() and "zero-shot" in first
    for stage, model in first.items():
        table, again = (each[stage].ego_embeddings().detach() for each in (first, second))
        assert table.isfinite().all() and model.final_embeddings().isfinite().all(), stage
        assert torch.equal(table, again), stage
        if what == "nothing":
            assert torch.equal(table, run.original.ego_embeddings())


def test_a_hardly_trained_model_has_less_to_forget(prepared):
    changes = []
    for epochs in (40, 1):
        run = prepared(epochs=epochs, eval_step=1, unlearn_methods="UnlearnRec", forget_ratio=0.05)
        ego = run.original.ego_embeddings().detach()
        changes.append(float((unlearned(run)["zero-shot"].ego_embeddings().detach() - ego).norm() / ego.norm()))
    assert changes[1] < changes[0]
