"""GNNDelete's neighbourhood, scores, losses and table against numpy, written from the formulas."""

import dense
import numpy as np
import pytest
import torch

from recbole_unlearn.errors import Diverged, UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.method.gnndelete import DeletionOperators, neighbourhood

BACKBONES = ["BPR", "LightGCN", "SGL", "SimGCL"]


@pytest.fixture
def trained(prepared):
    """A run, and GNNDelete on it: ``trained("SGL", forget_ratio=0.01)``."""

    def prepare(backbone="LightGCN", **changes):
        run = prepared(backbone, unlearn_methods="GNNDelete", **changes)
        method = METHODS["GNNDelete"](run.config, run.data, run.original)
        method.prepare()
        return run, method

    return prepare


def moved(operators):
    """The same operators, away from the identity."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        operators.change += 0.3 * torch.randn(operators.change.shape, generator=generator)
    return operators


def distances(data):
    """Hops of each node from the request, by powers of the adjacency; infinite where none leads."""
    matrix = dense.graph_adjacency(data.graph) > 0
    hops = np.full(data.graph.n_nodes, np.inf)
    reached = np.zeros(data.graph.n_nodes, dtype=bool)
    reached[data.request.users] = reached[data.request.items + data.graph.n_users] = True
    for hop in range(data.graph.n_nodes):
        hops[reached & np.isinf(hops)] = hop
        reached = reached | matrix[reached].any(axis=0)
    return hops


def propagated(run, table):
    """The backbone's readout on the remaining graph, dense."""
    adjacency, name = dense.graph_adjacency(run.data.remaining_graph), type(run.original).__name__
    if name == "BPR":
        return table
    return dense.mean_propagation(
        [adjacency] * (run.original.n_layers - (name == "SimGCL")), adjacency @ table if name == "SimGCL" else table
    )


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_the_neighbourhood_is_that_of_shortest_paths(prepared, hops):
    data = prepared(forget_ratio=1e-9).data
    groups = neighbourhood(data.graph, data.remaining_graph, hops).numpy()
    users, distance = np.arange(data.graph.n_nodes) < data.graph.n_users, distances(data)
    expected = [
        side & (distance == hop) for hop in range(hops + 1) for side in (users, ~users) if (distance == hop).any()
    ]
    np.testing.assert_array_equal(groups, expected)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_scores_losses_and_table_are_those_of_the_formulas(trained, backbone):
    run, _ = trained(backbone)
    data, model = run.data, run.original
    groups = neighbourhood(data.graph, data.remaining_graph, 2)
    ego = model.ego_embeddings().detach()
    operators = moved(DeletionOperators(model, ego, data.remaining_graph.adjacency, groups))
    matrices = operators.change.detach().double().numpy().reshape(len(groups), 8, 8) + np.eye(8)
    table = ego.double().numpy().copy()
    for group, matrix in zip(groups.numpy(), matrices):
        for node in np.flatnonzero(group):
            table[node] = table[node] @ matrix
    np.testing.assert_allclose(operators.table(ego), table, atol=1e-5)

    after, before = propagated(run, table), propagated(run, ego.double().numpy())

    def scores(final, users, items):
        return np.array(
            [final[user] @ final[model.n_users + item] for user, item in zip(users.tolist(), items.tolist())]
        )

    forgotten = data.request.users, data.request.items
    others = data.remaining_graph.users[:50], torch.arange(50) % 29 + 1
    wanted = torch.linspace(-1, 1, len(data.request))
    consistency = np.mean((scores(after, *forgotten) - wanted.numpy()) ** 2)
    influence = np.mean((scores(after, *others) - scores(before, *others)) ** 2)
    loss = operators.loss(*map(torch.cat, zip(forgotten, others)), wanted, 0.2).detach()
    assert float(loss) == pytest.approx(0.2 * consistency + 0.8 * influence, rel=1e-4)


def test_forgotten_pairs_come_to_score_like_random_ones(trained):
    run, method = trained(epochs=20, unlearn_gnndelete_alpha=0.9, unlearn_gnndelete_steps=200)
    request = run.data.request
    (stage,) = method.unlearn()

    def mean_score(ego, users, items):
        users_final, items_final = run.original.forward(ego, run.data.remaining_graph.adjacency).split(
            [run.original.n_users, run.original.n_items]
        )
        return float((users_final[users] * items_final[items]).sum(dim=1).mean())

    everyone = torch.cartesian_prod(torch.arange(1, run.original.n_users), torch.arange(1, run.original.n_items)).T
    unseen = ~run.data.graph.contains(*everyone)
    old, new = run.original.ego_embeddings().detach(), stage.model.ego_embeddings().detach()
    random = mean_score(old, *(side[unseen] for side in everyone))
    before, after = (mean_score(ego, request.users, request.items) for ego in (old, new))
    assert abs(after - random) < abs(before - random) / 2
    first, last = map(float, stage.details["loss"].split(" to "))
    assert last < first and stage.details["steps"] == 200


def test_a_propagation_that_is_not_linear_is_refused(trained, monkeypatch):
    _, method = trained()
    monkeypatch.setattr(type(method.original), "forward", lambda self, ego, adjacency: torch.relu(adjacency @ ego))
    with pytest.raises(UsageError, match="GNNDelete needs a linear `forward`, unlike LightGCN"):
        method.prepare()


def test_a_loss_that_is_not_finite_is_told(trained):
    _, method = trained(unlearn_gnndelete_learning_rate=1e20)
    with pytest.raises(Diverged, match="not finite"):
        list(method.unlearn())
