"""The backbones against RecBole's own and against explicit numpy, and the contract that they share."""

import dense
import numpy as np
import pytest
import torch
from recbole.model import general_recommender as stock
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType

from recbole_unlearn import run_unlearn
from recbole_unlearn.check.bench import Bench
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import (
    MODELS,
    ExactRecommender,
    NetworkRecommender,
    UnlearnableRecommender,
    dataset_graph,
    simgcl,
)
from recbole_unlearn.model_file import load_model
from recbole_unlearn.propagation import propagate
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import BackboneContract, ExactContract, NetworkContract

CONTRACTS = {
    UnlearnableRecommender: BackboneContract,
    ExactRecommender: ExactContract,
    NetworkRecommender: NetworkContract,
}


@MODELS.register
class OneHop(UnlearnableRecommender, GeneralRecommender):
    """A user's own model: the table plus its neighbours', kept under other names than the shipped models'."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        table = torch.randn(self.n_users + self.n_items, config["embedding_size"]) * 0.1
        self.nodes = torch.nn.Parameter(table)
        self.set_graph(dataset_graph(dataset))

    def ego_embeddings(self):
        return self.nodes

    @torch.no_grad()
    def set_ego_embeddings(self, ego):
        self.nodes.copy_(ego)
        self._final = None

    def forward(self, ego, adjacency):
        return ego + propagate(adjacency, ego)


@pytest.fixture
def built(configure):
    """A model with weights of a size at which the losses are not linear, its data, and a batch."""

    def build(name, **changes):
        config = configure(name, **changes)
        data = prepare_data(config)
        bench = Bench.of(config, data.train)
        return config, data, bench.model, bench.batch

    return build


def stock_model(name, config, data, model):
    other = getattr(stock, name)(config, data.train)
    other.load_state_dict(model.state_dict())
    return other


def ids(batch):
    return (batch[field].numpy() for field in ("user_id", "item_id", "neg_item_id"))


def tables(model):
    ego = model.ego_embeddings().detach().double().numpy()
    return ego, dense.graph_adjacency(model.graph)


def bpr_and_regulariser(model, batch, ego, final):
    users, items, negatives = ids(batch)
    rows = users, items + model.n_users, negatives + model.n_users
    u, p, n = (final[r] for r in rows)
    bpr = -np.log(dense.sigmoid((u * p).sum(axis=1) - (u * n).sum(axis=1))).mean()
    return bpr, sum((ego[r] ** 2).sum() for r in rows) / (2 * len(users))


@pytest.mark.parametrize("name", ["BPR", "LightGCN"])
@pytest.mark.parametrize("require_pow", [False, True])
def test_loss_and_gradient_are_those_of_recbole(built, name, require_pow):
    config, data, model, batch = built(name, reg_weight=0.1, require_pow=require_pow)
    other = stock_model(name, config, data, model)
    mine, theirs = model.calculate_loss(batch), other.calculate_loss(batch)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    mine.backward()
    theirs.sum().backward()
    for parameter, expected in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-6)


def graph_of(matrix, model):
    """The graph of a sparse adjacency over all nodes."""
    users, items = matrix.coalesce().indices()
    upper = users < model.n_users
    return Graph.from_edges(users[upper], items[upper] - model.n_users, model.n_users, model.n_items)


@pytest.mark.parametrize("kind", ["ED", "ND", "RW"])
def test_sgl_loss_and_gradient_are_those_of_recbole(built, kind):
    config, data, model, batch = built("SGL", type=kind, reg_weight=0.1, ssl_weight=0.3, ssl_tau=0.2, drop_ratio=0.2)
    other = stock_model("SGL", config, data, model).train()
    drawn = [other.sub_graph1, other.sub_graph2]
    views = [graph_of(matrix, model) for matrix in (sum(drawn, []) if kind == "RW" else drawn)]
    ego = model.ego_embeddings()
    mine = model.model_loss(batch, ego, model.forward(ego, model.adjacency), views) * len(batch)
    theirs = other.calculate_loss(batch)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    mine.backward()
    theirs.sum().backward()
    for parameter, expected in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-3, atol=1e-4)


def test_sgl_trains_on_the_sum_over_the_batch_as_recbole_does(built):
    _, _, model, batch = built("SGL", type="ED", ssl_weight=0.3)
    torch.manual_seed(3)
    model.train()
    torch.manual_seed(3)
    views = model.draw_views(model.graph)
    ego = model.ego_embeddings()
    mean = model.model_loss(batch, ego, model.forward(ego, model.adjacency), views)
    assert model.calculate_loss(batch).item() == pytest.approx(mean.item() * len(batch), rel=1e-5)


def edges_of(graph):
    return set(zip(graph.users.tolist(), graph.items.tolist()))


@pytest.mark.parametrize("kind", ["ED", "RW"])
def test_sgl_drops_a_share_of_the_edges(built, kind):
    _, _, model, _ = built("SGL", type=kind, drop_ratio=0.25)
    views = [edges_of(view) for view in model.draw_views(model.graph)]
    assert len(views) == (4 if kind == "RW" else 2) == len({frozenset(view) for view in views})
    assert all(len(view) == int(0.75 * len(model.graph)) and view < edges_of(model.graph) for view in views)


def test_sgl_drops_a_share_of_the_nodes(built):
    _, data, model, _ = built("SGL", type="ND", drop_ratio=0.25)
    view, other = map(edges_of, model.draw_views(model.graph))
    users, items = ({edge[side] for edge in view} for side in (0, 1))
    dropped = set(range(1, model.n_users)) - users
    assert view != other
    assert len(dropped) in (int(0.25 * model.n_users) - 1, int(0.25 * model.n_users))  # one may be the padding
    assert view == {(u, i) for u, i in edges_of(model.graph) if u in users and i in items}


def test_sgl_refuses_an_unknown_type(built):
    with pytest.raises(UsageError, match="'XY'.*ED.*ND.*RW"):
        built("SGL", type="XY")


@pytest.mark.parametrize("name", ["BPR", "LightGCN", "SGL"])
def test_scores_are_those_of_recbole(built, name):
    config, data, model, batch = built(name)
    other = stock_model(name, config, data, model).eval()
    model.eval()
    for predict in ("predict", "full_sort_predict"):
        mine, theirs = getattr(model, predict)(batch), getattr(other, predict)(batch)
        torch.testing.assert_close(mine, theirs.reshape(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_simgcl_is_the_mean_of_layers_one_to_last(built, n_layers):
    _, _, model, _ = built("SimGCL", n_layers=n_layers)
    ego, matrix = tables(model)
    layers = [np.linalg.matrix_power(matrix, layer) @ ego for layer in range(1, n_layers + 1)]
    np.testing.assert_allclose(model.final_embeddings(), np.mean(layers, axis=0), atol=1e-5)


def test_simgcl_without_contrast_is_bpr_and_regulariser(built):
    _, _, model, batch = built("SimGCL", simgcl_lambda=0, reg_weight=0.1, require_pow=True)
    ego, matrix = tables(model)
    bpr, regulariser = bpr_and_regulariser(model, batch, ego, (matrix @ ego + matrix @ matrix @ ego) / 2)
    assert model.calculate_loss(batch).item() == pytest.approx(bpr + 0.1 * regulariser, rel=1e-5)


def test_simgcl_without_noise_contrasts_the_embeddings_with_themselves(built):
    _, _, model, batch = built("SimGCL", simgcl_lambda=0.7, simgcl_eps=0, simgcl_temperature=0.2, reg_weight=0)
    ego, matrix = tables(model)
    final = (matrix @ ego + matrix @ matrix @ ego) / 2
    bpr, _ = bpr_and_regulariser(model, batch, ego, final)
    users, items, _ = ids(batch)
    contrast = 0
    for nodes in (np.unique(users), np.unique(items) + model.n_users):
        contrast += dense.info_nce_terms(final[nodes], final[nodes], np.arange(len(nodes)), 0.2).mean()
    assert model.calculate_loss(batch).item() == pytest.approx(bpr + 0.7 * contrast, rel=1e-5)


def test_simgcl_may_sum_over_the_rows_of_a_batch_as_recbole_gnn_does(built):
    settings = {"simgcl_lambda": 0.7, "simgcl_eps": 0, "simgcl_temperature": 0.2, "reg_weight": 0}
    _, _, model, batch = built("SimGCL", simgcl_sum=True, **settings)
    final = model.final_embeddings().double()
    expected = 0.0
    for rows in (batch["user_id"], batch["item_id"] + model.n_users):  # a node as often as it occurs
        unit = torch.nn.functional.normalize(final[rows], dim=1)
        logits = unit @ unit.t() / 0.2
        expected += 0.7 * (logits.logsumexp(dim=1) - logits.diag()).sum()
    assert len(batch["item_id"].unique()) < len(batch["item_id"])
    contrast = model.calculate_loss(batch) - built("SimGCL", **{**settings, "simgcl_lambda": 0})[2].calculate_loss(
        batch
    )
    assert contrast.item() == pytest.approx(expected.item(), rel=1e-4)


def test_simgcl_noise_has_its_length_and_the_sign_of_the_embedding(built, monkeypatch):
    _, _, model, batch = built("SimGCL", n_layers=1, simgcl_lambda=1, simgcl_eps=0.3)
    seen = []
    monkeypatch.setattr(simgcl, "info_nce", lambda first, second, *_, **__: seen.append((first, second)) or first.sum())
    model.calculate_loss(batch)
    users = torch.unique(batch["user_id"])
    clean = model.final_embeddings()[users]
    first, second = (view.detach() for view in seen[0])
    for view in (first, second):
        assert torch.allclose((view - clean).norm(dim=1), torch.tensor(0.3), atol=1e-5)
        assert (view.sign() == clean.sign()).all()
    assert not torch.allclose(first, second)


for _name in MODELS:  # a new model is tested by being registered
    _kind = next(kind for kind in CONTRACTS if issubclass(MODELS[_name], kind))
    globals()[f"Test{_name}"] = type(f"Test{_name}", (CONTRACTS[_kind],), {"model": MODELS[_name]})


def test_a_users_own_model_goes_through_the_whole_pipeline(settings, tmp_path):
    report = run_unlearn("OneHop", "tiny", config_dict={**settings, "unlearn_methods": "all"})
    assert {row["method"] for row in report["results"]} >= {"original", "Retrain", "UnlearnRec", "DropEdges"}
    for row in report["results"]:
        assert np.isfinite([row["recall@5"], row["MI-BF"], row["MI-NG"]]).all()
    _, model, _ = load_model(tmp_path / "saved" / "Retrain-OneHop-tiny-random-7.safetensors")
    assert isinstance(model, OneHop)
