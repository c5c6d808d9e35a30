"""Fitted models against dense references and RecBole's own classes, and their forgetting against refits."""

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model import general_recommender as stock

from recbole_unlearn.gram import cooccurrences, forgotten_edges, lost_cooccurrences, take_away
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import MODELS
from recbole_unlearn.nonnegative import solve_nonnegative
from recbole_unlearn.task import prepare_data

LINEAR = ("EASE", "ItemKNN", "SLIMElastic")
FITTED = (*LINEAR, "ALS")
SETTINGS = {"EASE": {"reg_weight": 20.0}, "ItemKNN": {"k": 7}, "SLIMElastic": {"alpha": 0.05, "l1_ratio": 0.1}}
SETTINGS["ALS"] = {"embedding_size": 4, "als_residual": 1e-4}


@pytest.fixture
def built(configure):
    """A fitted model and the data of its run."""

    def build(name, **changes):
        config = configure(name, **{**SETTINGS[name], **changes})
        data = prepare_data(config)
        return config, data, MODELS[name](config, data.train).fitted(data.graph)

    return build


def dense(graph):
    matrix = np.zeros((graph.n_users, graph.n_items))
    matrix[graph.users, graph.items] = 1
    return matrix


def weights(model):
    return model.weights(torch.arange(model.n_items)).numpy()


def scores(model):
    return model.scores(torch.arange(model.n_users)).numpy()


def without(graph, edges):
    """A graph without some edges, a boolean over them."""
    return graph.subgraph(~edges)


def requests(graph):
    """Edges to forget, by name: single ones, users, items, many at random, all but a few."""
    random = torch.rand(len(graph), generator=torch.Generator().manual_seed(5))
    return {
        "one": torch.arange(len(graph)) == 7,
        "a user": graph.users == graph.users[40],
        "two items": torch.isin(graph.items, graph.items[:2]),
        "a tenth": random < 0.1,
        "most": random < 0.9,
        "everything": random < 2,
    }


@pytest.mark.parametrize("name", LINEAR)
def test_forgetting_gives_the_refit(built, name):
    _, data, model = built(name)
    before = {key: tensor.clone() for key, tensor in model.state.items()}
    for request, edges in requests(data.graph).items():
        remaining = without(data.graph, edges)
        forgotten, refit = model.forgotten(remaining), model.fitted(remaining)
        for key, tensor in refit.state.items():
            assert tensor.dtype == forgotten.state[key].dtype
            np.testing.assert_allclose(forgotten.state[key], tensor, rtol=0, atol=1e-12, err_msg=f"{request}: {key}")
        np.testing.assert_allclose(scores(forgotten), scores(refit), atol=1e-11)
        assert forgotten.deviation(torch.arange(1, model.n_items)) < 1e-12
        if name == "ItemKNN":
            assert all(torch.equal(forgotten.state[key], tensor) for key, tensor in refit.state.items())
    assert all(torch.equal(model.state[key], tensor) for key, tensor in before.items())


@pytest.mark.parametrize("name", ["EASE", "ItemKNN"])
def test_a_thousand_single_requests_end_at_the_refit(built, name):
    _, _, model = built(name)
    generator = torch.Generator().manual_seed(3)
    users, items = torch.nonzero(torch.rand(model.n_users, model.n_items, generator=generator) < 0.95, as_tuple=True)
    model = model.fitted(Graph.from_edges(users, items, model.n_users, model.n_items))
    for edge in torch.randperm(len(users), generator=generator)[:1000]:
        model.follow(model.graph.without(users[edge][None], items[edge][None]))
    refit = model.fitted(model.graph)
    assert 0 < len(model.graph) == len(users) - 1000
    for key, tensor in refit.state.items():
        assert (model.state[key] - tensor).abs().max() <= (1e-13 if name == "EASE" else 0)


def test_als_forgets_to_its_residual(built):
    _, data, model = built("ALS")
    for request, edges in requests(data.graph).items():
        remaining = without(data.graph, edges)
        forgotten = model.forgotten(remaining)
        assert forgotten.deviation(torch.arange(1)) <= model.limit
        for factors, ids in zip(forgotten.state, (data.graph.users, data.graph.items)):
            moved = (forgotten.state[factors] != model.state[factors]).any(dim=1)
            assert moved[ids[edges]].all(), f"{request}: {factors} that lose an edge stay, though below the residual"
        for residual in residuals(forgotten, dense(remaining)):
            assert residual <= 1.000001 * model.limit, request


def residuals(model, interactions):
    """Of the normal equations of Hu, Koren and Volinsky: gradients of half of the objective over right sides."""
    users, items = (factors.numpy() for factors in model.state.values())
    weights = 1 + model.alpha * interactions
    errors = weights * (users @ items.T - interactions)
    gradients = errors @ items + model.ridge * users, errors.T @ users + model.ridge * items
    right = (weights * interactions) @ items, (weights * interactions).T @ users
    return [np.linalg.norm(g) / (np.linalg.norm(r) or 1) for g, r in zip(gradients, right)]


def test_the_deviation_finds_a_state_that_is_not_a_refit(built):
    for name in FITTED:
        _, data, model = built(name)
        dropped = model.on_graph(without(data.graph, requests(data.graph)["a tenth"]))
        assert dropped.deviation(torch.arange(1, model.n_items)) > max(1e-3, 10 * model.limit), name


def recboles(name, config, data):
    model = getattr(stock, name)(config, data.train)
    return model


def test_ease_is_recboles(built):
    config, data, model = built("EASE")
    theirs = recboles("EASE", config, data)
    np.testing.assert_allclose(weights(model), theirs.item_similarity, atol=1e-6)
    everybody = Interaction({"user_id": torch.arange(model.n_users)})
    np.testing.assert_allclose(scores(model).ravel(), theirs.full_sort_predict(everybody).ravel(), atol=1e-5)
    matrix = dense(data.graph)
    inverse = np.linalg.inv(matrix.T @ matrix + 20 * np.eye(model.n_items))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(weights(model), expected, atol=1e-13)
    np.testing.assert_allclose(scores(model), matrix @ expected, atol=1e-12)


@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_itemknn_is_recboles(built, shrink):
    config, data, model = built("ItemKNN", shrink=shrink)
    theirs, mine = recboles("ItemKNN", config, data).w.toarray(), weights(model)
    np.testing.assert_allclose(np.sort(mine, axis=0), np.sort(theirs, axis=0), atol=1e-6)  # ties may be others
    matrix = dense(data.graph)
    counts = matrix.T @ matrix
    roots = np.sqrt(np.diag(counts))
    cosines = counts / (np.outer(roots, roots) + shrink + 1e-6)
    np.fill_diagonal(cosines, 0)
    order = np.lexsort((np.broadcast_to(np.arange(len(cosines))[:, None], cosines.shape), -cosines), axis=0)[:7]
    expected = np.zeros_like(cosines)
    np.put_along_axis(expected, order, np.take_along_axis(cosines, order, axis=0), axis=0)
    np.testing.assert_allclose(mine, expected, atol=1e-15)
    np.testing.assert_allclose(scores(model), matrix @ expected, atol=1e-12)


def test_slim_is_recboles_and_fulfils_the_conditions_of_its_minimum(built):
    config, data, model = built("SLIMElastic")
    mine = weights(model)
    matrix = dense(data.graph)
    gradient = (matrix.T @ matrix @ mine - matrix.T @ matrix) / model.n_users + model.l2 * mine + model.l1
    np.fill_diagonal(gradient, 0)
    assert (mine >= 0).all() and not mine.diagonal().any() and (mine > 0).sum() > 30
    assert np.abs(gradient[mine > 0]).max() < 1e-13 and gradient.min() > -1e-13
    monkeypatched = recboles("SLIMElastic", config, data).item_similarity.toarray()
    np.testing.assert_allclose(mine, monkeypatched, atol=2e-3)  # where its coordinate descent stops


def test_nonnegative_programs_are_solved_from_any_support():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 20, dtype=torch.float64, generator=generator)
    matrix = rows.t() @ rows / 30 + 0.01 * torch.eye(20, dtype=torch.float64)
    right = torch.randn(20, 20, dtype=torch.float64, generator=generator)
    excluded = torch.arange(20)
    weights = solve_nonnegative(matrix, right, excluded)
    gradient = weights @ matrix - right
    gradient[excluded, excluded] = 0
    assert (weights >= 0).all() and not weights.diagonal().any() and 50 < (weights > 0).sum() < 300
    assert gradient[weights > 0].abs().max() < 1e-12 and gradient.min() > -1e-12
    for support in (torch.ones(20, 20, dtype=torch.bool), right > 1):
        again = solve_nonnegative(matrix, right, excluded, support)
        torch.testing.assert_close(again, weights, rtol=0, atol=1e-12)


def test_counts_follow_the_graph():
    users, items = torch.nonzero(torch.rand(20, 12, generator=torch.Generator().manual_seed(2)) < 0.4, as_tuple=True)
    graph = Graph.from_edges(users, items, 20, 12)
    for edges in requests(graph).values():
        remaining = without(graph, edges)
        gone = forgotten_edges(graph, remaining)
        assert torch.equal(gone.users, users[edges]) and torch.equal(gone.items, items[edges])
        changed, losses = lost_cooccurrences(gone, remaining)
        expected = cooccurrences(graph) - cooccurrences(remaining)
        assert (losses.toarray() == expected[changed]).all()
        counts = torch.from_numpy(cooccurrences(graph))
        take_away(counts, changed, losses)
        assert (counts.numpy() == cooccurrences(remaining)).all()
        expected[changed] = expected[:, changed] = 0
        assert not expected.any()
