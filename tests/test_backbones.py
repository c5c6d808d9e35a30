"""The backbones with losses and readouts of their own, against RecBole's classes and dense float64 formulas."""

import dense
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recbole.model import general_recommender as stock
from recbole.model.general_recommender import dgcf as stock_dgcf

from recbole_unlearn.check.bench import Bench
from recbole_unlearn.errors import NoResult, UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import ncl
from recbole_unlearn.model.lightgcl import LowRankView
from recbole_unlearn.model.ultragcn import Constants
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing.runs import scores


@pytest.fixture
def built(configure):
    """A model with weights of a size at which the losses are not linear, its data, and a batch."""

    def build(name, **changes):
        config = configure(name, **changes)
        bench = Bench.of(config, prepare_data(config).train)
        return bench, bench.model, bench.batch

    return build


def rows_of(model, batch):
    """Nodes of the batch's users, items and negative items."""
    users, items, negatives = (batch[field] for field in ("user_id", "item_id", "neg_item_id"))
    return users, items + model.n_users, negatives + model.n_users


def double(model):
    """The table and the dense adjacency, float64."""
    return model.ego_embeddings().detach().double(), torch.tensor(dense.graph_adjacency(model.graph))


def bpr_and_regulariser(model, batch, ego, final):
    users, items, negatives = rows_of(model, batch)
    margins = (final[users] * (final[items] - final[negatives])).sum(dim=1)
    squares = sum(ego[nodes].square().sum() for nodes in (users, items, negatives))
    return -F.logsigmoid(margins).mean() + model.reg_weight * squares / (2 * len(users))


def contrast(anchors, candidates, positives, temperature):
    """Mean InfoNCE by torch's own softmax."""
    logits = F.normalize(anchors, dim=1) @ F.normalize(candidates, dim=1).t() / temperature
    return F.cross_entropy(logits, positives)


@pytest.mark.parametrize("layer", [1, 2])
def test_xsimgcl_without_noise_contrasts_a_layer_with_the_final_embeddings(built, layer):
    settings = {"xsimgcl_lambda": 0.7, "xsimgcl_eps": 0.0, "xsimgcl_layer": layer, "reg_weight": 0.1}
    _, model, batch = built("XSimGCL", **settings)
    ego, matrix = double(model)
    layers = [ego, matrix @ ego, matrix @ matrix @ ego]
    final = (layers[1] + layers[2]) / 2
    expected = bpr_and_regulariser(model, batch, ego, final)
    for nodes in map(torch.unique, rows_of(model, batch)[:2]):
        expected = expected + 0.7 * contrast(final[nodes], layers[layer][nodes], torch.arange(len(nodes)), 0.15)
    assert model.calculate_loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(model.final_embeddings(), final, atol=1e-5)


def test_xsimgcl_trains_on_noise_and_scores_without(built):
    _, model, batch = built("XSimGCL", n_layers=1, xsimgcl_eps=0.3)
    clean, ego = model.final_embeddings(), model.ego_embeddings().detach()
    noisy, (layer,) = model.training_forward(ego, model.adjacency, [])
    assert torch.equal(noisy, layer)  # one propagation serves both
    connected = model.graph.degrees() > 0
    assert torch.allclose((noisy - clean).norm(dim=1)[connected], torch.tensor(0.3), atol=1e-5)
    assert (noisy.sign() == clean.sign()).all()
    assert not torch.equal(model.training_forward(ego, model.adjacency, [])[0], noisy)
    with pytest.raises(UsageError, match="'xsimgcl_layer' is 3, but `n_layers` is only 2"):
        built("XSimGCL", xsimgcl_layer=3, n_layers=2)


@pytest.mark.parametrize("encoder, n_layers", [("MF", 0), ("LightGCN", 2)])
def test_directau_is_the_alignment_of_the_batch_s_rows_and_the_uniformity_of_its_nodes(built, encoder, n_layers):
    _, model, batch = built("DirectAU", directau_encoder=encoder, directau_gamma=0.7, reg_weight=0.1)
    ego, matrix = double(model)
    final = torch.tensor(dense.mean_propagation([matrix.numpy()] * n_layers, ego.numpy()))
    np.testing.assert_allclose(model.final_embeddings(), final, atol=1e-5)
    users, items, _ = rows_of(model, batch)
    assert len(users.unique()) < len(users)
    x, y = (F.normalize(final[nodes], dim=1) for nodes in (users, items))
    expected = (x - y).norm(dim=1).pow(2).mean()
    for nodes in (users, items):
        different = F.normalize(final[nodes.unique()], dim=1)
        expected = expected + 0.7 / 2 * torch.pdist(different).pow(2).mul(-2).exp().mean().log()
    expected = expected + 0.1 * sum(ego[nodes].square().sum() for nodes in (users, items)) / (2 * len(users))
    assert model.calculate_loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    batch.interaction["neg_item_id"] = batch["neg_item_id"].flip(0)
    assert model.calculate_loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)  # no negatives in it
    assert torch.isfinite(model.calculate_loss(batch[:1]))  # a single pair has no uniformity


def low_rank(matrix, n_users, rank):
    """The adjacency of the truncated SVD, dense."""
    left, values, right = np.linalg.svd(matrix.numpy()[:n_users, n_users:])
    block = torch.tensor(left[:, :rank] * values[:rank] @ right[:rank])
    result = torch.zeros_like(matrix)
    result[:n_users, n_users:], result[n_users:, :n_users] = block, block.t()
    return result


def test_lightgcl_contrasts_summed_layers_with_those_of_the_truncated_svd(built):
    settings = {"lightgcl_lambda": 0.7, "lightgcl_rank": 4, "ssl_candidates": None, "reg_weight": 0.1}
    _, model, batch = built("LightGCL", **settings)
    ego, matrix = double(model)
    final = ego + matrix @ ego + matrix @ matrix @ ego
    view = ego + low_rank(matrix, model.n_users, 4) @ (ego + matrix @ ego)
    expected = bpr_and_regulariser(model, batch, ego, final)
    sides = slice(0, model.n_users), slice(model.n_users, None)
    for side, nodes in zip(sides, rows_of(model, batch)):
        expected = expected + 0.7 * contrast(final[nodes], view[side], nodes - (side.start or 0), 0.2)
    assert model.calculate_loss(batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_views_of_what_remains_are_those_of_the_remaining_graph(built):
    bench, model, _ = built("LightGCL", lightgcl_rank=4)
    view, remaining = LowRankView.of(model.graph, 4), bench.remaining_graph
    x = torch.randn(model.graph.n_nodes, 3)
    matrix = torch.tensor(dense.graph_adjacency(remaining))
    after = view.without(*bench.forgotten)
    expected = low_rank(matrix, model.n_users, 4).float() @ x
    torch.testing.assert_close(after.propagate(x), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(view.propagate(x), expected, atol=1e-2)
    constants = Constants.of(model.graph, 3).without(*bench.forgotten)
    of_remaining = Constants.of(remaining, 3)
    for name in ("of_users", "of_items", "neighbours", "omega"):
        assert torch.equal(getattr(constants, name), getattr(of_remaining, name))
    nothing = remaining.subgraph(torch.zeros(len(remaining), dtype=torch.bool))
    assert not LowRankView.of(nothing, 4).propagate(x).any() and not Constants.of(nothing, 3).omega.any()


def clusters_of(model, n_clusters=5):
    sides = model.ego_embeddings().detach().split([model.n_users, model.n_items])
    return ncl.Clusters.of(sides, n_clusters)


@pytest.mark.parametrize("with_clusters", [False, True])
def test_ncl_is_that_of_recbole(built, with_clusters):
    weights = {"ssl_reg": 1e-2, "proto_reg": 2e-2, "alpha": 0.5, "reg_weight": 0.1, "ssl_candidates": None}
    bench, model, batch = built("NCL", ssl_temp=0.2, n_layers=3, hyper_layers=2, **weights)
    other = stock.NCL(bench.config, bench.train)
    other.load_state_dict(model.state_dict())
    clusters = clusters_of(model)
    for side, centroids, numbers in zip(("user", "item"), clusters.centroids, clusters.numbers):
        setattr(other, f"{side}_centroids", F.normalize(centroids, dim=1))
        setattr(other, f"{side}_2cluster", numbers)
    views = [model.graph, *([clusters] if with_clusters else [])]
    ego = model.ego_embeddings()
    mine = model.model_loss(batch, ego, *model.training_forward(ego, model.adjacency, views))
    theirs = sum(other.calculate_loss(batch)[: 3 if with_clusters else 2])
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    mine.backward()
    theirs.sum().backward()
    for parameter, expected in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-3, atol=1e-5)


def test_ncl_renews_its_clusters_from_the_current_table_after_a_warm_up(built):
    _, model, _ = built("NCL", warm_up_step=2, m_step=2, num_clusters=4)
    seen = []
    for epoch in range(6):
        model.epoch = epoch
        with torch.no_grad():
            model.user_embedding.weight.add_(torch.randn_like(model.user_embedding.weight))
        torch.manual_seed(epoch)
        model.train()
        seen.append(model._views[1] if len(model._views) > 1 else None)
        if epoch in (2, 4):
            torch.manual_seed(epoch)
            assert torch.equal(seen[-1].centroids[0], clusters_of(model, 4).centroids[0])
    assert seen[0] is seen[1] is None and seen[2] is seen[3] is not seen[4] and seen[4] is seen[5]
    centroids, numbers = seen[2].centroids[0], seen[2].numbers[0]
    assert centroids.shape == (4, 8) and set(numbers.tolist()) == set(range(4))
    model.epoch = None  # outside of a training, the loss is whole
    assert len(model.train()._views) == 2


@pytest.mark.parametrize("n_layers, n_factors", [(1, 4), (2, 2), (2, 1)])
def test_dgcf_is_that_of_recbole(built, monkeypatch, n_layers, n_factors):
    settings = {"n_layers": n_layers, "n_factors": n_factors, "n_iterations": 2, "cor_weight": 0.3, "reg_weight": 0.1}
    bench, model, batch = built("DGCF", **settings)
    other = stock.DGCF(bench.config, bench.train)
    other.load_state_dict(model.state_dict())
    ego = model.ego_embeddings()
    mine, theirs = model.forward(ego, model.adjacency), torch.cat(other.forward())
    connected = model.graph.degrees() > 0
    torch.testing.assert_close(mine[connected], theirs[connected], rtol=1e-4, atol=1e-5)

    def draw(n_users, n_items, size):
        torch.manual_seed(3)
        return [torch.randperm(n)[:size].tolist() for n in (n_users, n_items)]

    monkeypatch.setattr(stock_dgcf, "sample_cor_samples", draw)
    torch.manual_seed(3)
    loss = model.model_loss(batch, ego, mine, [model.graph])
    expected = other.calculate_loss(batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    expected.sum().backward()
    for parameter, of_recbole in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(parameter.grad, of_recbole.grad, rtol=1e-3, atol=1e-4)


def test_dgcf_refuses_factors_that_do_not_divide_the_table(built):
    with pytest.raises(UsageError, match="'embedding_size' must be a multiple of `n_factors`: 8 is none of 3"):
        built("DGCF", n_factors=3)


def dense_constants(matrix, k):
    """beta, and for each item its k closest others by omega, from the paper's formulas."""
    of_users, of_items = matrix.sum(axis=1), matrix.sum(axis=0)
    beta = np.sqrt((of_users[:, None] + 1) / (of_items[None] + 1)) / np.maximum(of_users, 1)[:, None]
    both = matrix.T @ matrix
    sums, omega = both.sum(axis=1), np.zeros_like(both)
    for i, j in zip(*np.nonzero(both)):
        if i != j:
            omega[i, j] = both[i, j] / (sums[i] - both[i, i]) * np.sqrt(sums[i] / sums[j])
    return beta, omega, [np.argsort(-row, kind="stable")[:k] for row in omega]


def test_ultragcn_is_the_weighted_loss_of_the_paper(built):
    weights = {"ultragcn_w1": 0.3, "ultragcn_w2": 0.8, "ultragcn_w3": 0.2, "ultragcn_w4": 0.6, "ultragcn_lambda": 0.4}
    others = {"ultragcn_negative_weight": 5.0, "ultragcn_neighbours": 3, "ultragcn_gamma": 0.01}
    _, model, batch = built("UltraGCN", ultragcn_negatives=None, **weights, **others)
    ego, _ = double(model)
    ego, matrix = ego.numpy(), np.zeros((model.n_users, model.n_items))
    matrix[model.graph.users, model.graph.items] = 1
    beta, omega, closest = dense_constants(matrix, 3)
    scores = ego[: model.n_users] @ ego[model.n_users :].T
    expected = 0.005 * (ego**2).sum() * len(batch) / 128  # once a batch of train_batch_size
    for user, item in zip(batch["user_id"].tolist(), batch["item_id"].tolist()):
        expected += (0.3 + 0.8 * beta[user, item]) * np.log1p(np.exp(-scores[user, item]))
        negatives = (0.2 + 0.6 * beta[user, 1:]) * np.log1p(np.exp(scores[user, 1:]))
        expected += 5 * negatives.mean()
        expected += 0.4 * sum(omega[item, j] * np.log1p(np.exp(-scores[user, j])) for j in closest[item])
    assert model.calculate_loss(batch).item() == pytest.approx(expected, rel=1e-4)


def test_ultragcn_s_drawn_negatives_stand_for_all(built):
    _, model, batch = built("UltraGCN", ultragcn_negatives=5)
    torch.manual_seed(0)
    drawn = np.mean([model.calculate_loss(batch).item() for _ in range(400)])
    model.n_candidates = None
    assert drawn == pytest.approx(model.calculate_loss(batch).item(), rel=0.02)


def test_constants_of_a_graph_with_lonely_items():
    graph = Graph.from_edges(torch.tensor([1, 1, 2]), torch.tensor([1, 2, 3]), 3, 5)  # item 3 shares no user
    constants = Constants.of(graph, 4)
    assert constants.omega[1].tolist() == pytest.approx([1.0, 0, 0, 0]) and constants.neighbours[1, 0] == 2
    assert not constants.omega[[0, 3, 4]].any() and torch.isfinite(constants.omega).all()


NO_RESULT = {"DirectAU": {"IFRU", "SCIF"}, "UltraGCN": {"IFRU", "SCIF"}, "DGCF": {"GNNDelete"}}


METHODS_OF_ALL_KINDS = ("UnlearnRec", "GIF", "CEU", "IFRU", "SCIF", "GNNDelete", "SISA")  # others do what these do


@pytest.mark.parametrize("name", ["XSimGCL", "DirectAU", "LightGCL", "NCL", "DGCF", "UltraGCN"])
def test_a_method_serves_it_or_says_why_not(prepared, name):
    run = prepared(name, unlearn_methods="all", epochs=2, warm_up_step=1, unlearn_gif_iterations=5)
    before, none = scores(run.original), set()
    for method in METHODS_OF_ALL_KINDS:
        worker = METHODS[method](run.config, run.data, run.original)
        try:
            worker.prepare()
            for stage in worker.unlearn():
                after = scores(stage.model)
                assert after.isfinite().all() and not torch.equal(after, before), (method, stage.name)
        except NoResult:
            none.add(method)
    assert none == NO_RESULT.get(name, set())
    assert torch.equal(scores(run.original), before)
