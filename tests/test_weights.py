"""Weights besides the table: NGCF and SimpleX against RecBole's, who revises them, and what is said where nobody does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recbole.model import general_recommender as stock
from served import train, user
from test_testing import Deep

from recbole_unlearn import load_data_and_model, run_unlearn, unlearn
from recbole_unlearn.check.bench import Bench
from recbole_unlearn.deletion.service import prepare, verify
from recbole_unlearn.deletion.version import encoder_file
from recbole_unlearn.encoder.response import own_map, readout_response
from recbole_unlearn.errors import NoResult, UsageError
from recbole_unlearn.evaluator.comparison import summarise
from recbole_unlearn.evaluator.stages import costed_stages, not_unlearned
from recbole_unlearn.method import METHODS
from recbole_unlearn.method.influence.ceu import perturbed
from recbole_unlearn.method.influence.point import called_at, packed, unpacked
from recbole_unlearn.method.unlearnrec import Pretrained
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.report.summary import summary_table
from recbole_unlearn.saved_model import load_model
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone

PLAIN = {"node_dropout": 0.0, "message_dropout": 0.0}


class Transformed(MODELS["BPR"]):
    """A linear map of each row, which is named."""

    weights_beyond_table = ("transform", "scale")

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        width = config["embedding_size"]
        self.transform = torch.nn.Linear(width, width)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, ego, adjacency):
        return self.scale * self.transform(ego)


@pytest.fixture
def registered(monkeypatch):
    def register(model):
        monkeypatch.setitem(MODELS._classes, model.__name__, model)
        return model.__name__

    return register


@pytest.fixture
def bench(configure):
    """A model with weights of a size at which losses are not linear, without dropout."""

    def build(name, **changes):
        config = configure(name, **changes)
        bench = Bench.of(config, prepare_data(config).train)
        bench.model.eval()
        return bench

    return build


def test_ngcf_is_recboles_without_its_dropout(bench):
    bench = bench("NGCF", **PLAIN, reg_weight=0.1)
    model, other = bench.model, stock.NGCF(bench.config, bench.train)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.final_embeddings(), torch.cat(other.forward()), rtol=1e-5, atol=1e-6)
    mine, theirs = model.calculate_loss(bench.batch), other.calculate_loss(bench.batch)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    mine.backward()
    theirs.sum().backward()
    gradients = {name: parameter.grad for name, parameter in other.named_parameters()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)


def test_ngcf_drops_out_in_training_alone(bench):
    model = bench("NGCF", message_dropout=0.5, node_dropout=0.5).model
    ego = model.ego_embeddings()
    assert torch.equal(model.forward(ego, model.adjacency), model.forward(ego, model.adjacency))
    model.train()
    drawn = [model.forward(ego, model.adjacency) for _ in range(2)]
    assert not torch.equal(*drawn) and torch.equal(model.final_embeddings(), model.eval().final_embeddings())


@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("require_pow", [False, True])
def test_simplex_is_recboles_with_whole_histories(bench, negatives, require_pow):
    drawn = {"distribution": "uniform", "sample_num": negatives, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    bench = bench("SimpleX", reg_weight=0.1, require_pow=require_pow, train_neg_sample_args=drawn, margin=-0.2)
    model, other = bench.model, stock.SimpleX(bench.config, bench.train).eval()
    names = {"user_embedding": "user_emb", "item_embedding": "item_emb", "UI_map": "UI_map"}
    with torch.no_grad():
        model.item_embedding.weight[0] = 0  # RecBole's padding
    other.load_state_dict({f"{names[key.split('.')[0]]}.weight": value for key, value in model.state_dict().items()})
    mine, theirs = model.calculate_loss(bench.batch), other.calculate_loss(bench.batch)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    mine.backward()
    theirs.backward()
    for name, expected in names.items():
        torch.testing.assert_close(
            getattr(model, name).weight.grad, getattr(other, expected).weight.grad, rtol=1e-4, atol=1e-6
        )
    torch.testing.assert_close(model.predict(bench.batch), other.predict(bench.batch), rtol=1e-5, atol=1e-6)


def test_simplex_takes_the_history_of_the_graph_that_it_is_given(bench):
    bench = bench("SimpleX")
    model, graph = bench.model, bench.remaining_graph
    revised = model.revised(model.ego_embeddings(), graph)
    users, items = (part.weight.detach().double().numpy() for part in (model.user_embedding, model.item_embedding))
    weight = model.UI_map.weight.detach().double().numpy()
    for number in graph.users.unique().tolist()[:5]:
        history = items[graph.items[graph.users == number].numpy()].mean(axis=0)
        fused = 0.5 * users[number] + 0.5 * weight @ history
        expected = fused / np.linalg.norm(fused)
        np.testing.assert_allclose(revised.final_embeddings()[number], expected, rtol=1e-4, atol=1e-5)


def ngcf_loss(model, point, adjacency, triples):
    """NGCF's loss of a point from the formulas, dense: BPR summed over triples and the regulariser as often."""
    ego, weights = unpacked(point, model)
    layers = [ego]
    for number in range(len(model.GNNlayers)):
        own = layers[-1]
        linear, interaction = (
            [weights[f"GNNlayers.{number}.{part}.{kind}"] for kind in ("weight", "bias")]
            for part in ("linear", "interActTransform")
        )
        received = adjacency @ own
        mixed = (own + received) @ linear[0].T + linear[1] + (received * own) @ interaction[0].T + interaction[1]
        mixed = torch.where(mixed > 0, mixed, 0.2 * mixed)
        layers.append(mixed / mixed.norm(dim=1, keepdim=True))
    final = torch.cat(layers, dim=1)
    users, items, negatives = triples.users, triples.items + model.n_users, triples.negatives + model.n_users
    bpr = -F.logsigmoid((final[users] * (final[items] - final[negatives])).sum(dim=1)).sum()
    return bpr + model.reg_weight * sum(final[side].norm() for side in (users, items, negatives))


def test_gradient_and_hessian_go_through_table_and_weights(prepared):
    run = prepared("NGCF", **PLAIN, hidden_size_list=[5, 3], reg_weight=0.1, unlearn_methods="GIF", n_layers=1)
    method = METHODS["GIF"](run.config, run.data, run.original)
    method.prepare()
    model, loss = run.original, replace(method.loss, adjacency=method.loss.adjacency.double())
    generator = torch.Generator().manual_seed(0)
    point, x = (torch.randn(method.point.shape, generator=generator, dtype=torch.double) for _ in range(2))
    dense = loss.adjacency.to_dense()
    leaf = point.clone().requires_grad_()
    expected = ngcf_loss(model, leaf, dense, method.triples)
    assert loss(point).item() == pytest.approx(expected.item(), rel=1e-8)
    (gradient,) = torch.autograd.grad(expected, leaf)
    torch.testing.assert_close(loss.gradient(point), gradient, rtol=1e-7, atol=1e-7)
    step = 1e-6
    differences = (loss.gradient(point + step * x) - loss.gradient(point - step * x)) / (2 * step)
    product = loss.hessian(point)(x)
    torch.testing.assert_close(product, differences, rtol=1e-5, atol=1e-4)
    assert product[: model.n_users].any() and product[model.n_users + model.n_items :].any()


def test_a_point_is_the_table_and_the_weights_and_a_call_leaves_the_model_alone(registered, bench):
    model = bench(registered(Transformed)).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    point = packed(model.ego_embeddings(), model.named_weights().values())
    n_numbers = 8 * 8 + 8 + 1
    assert point.shape == (model.n_users + model.n_items + -(-n_numbers // 8), 8)
    ego, weights = unpacked(point, model)
    assert torch.equal(ego, model.ego_embeddings())
    assert list(weights) == list(model.named_weights()) == ["scale", "transform.weight", "transform.bias"]
    assert all(torch.equal(weights[name], value) for name, value in model.named_weights().items())
    seen = called_at(point * 2, model, lambda table: model.forward(table, model.adjacency))
    expected = 2 * model.scale * (2 * ego @ (2 * model.transform.weight.T) + 2 * model.transform.bias)
    torch.testing.assert_close(seen, expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_ceu_has_noise_on_the_weights_too(registered, bench):
    bench = bench(registered(Transformed))
    model = perturbed(Transformed)(bench.config, bench.train)
    model.load_state_dict(bench.model.state_dict())
    ego = model.ego_embeddings().detach()
    noise = torch.randn(packed(ego, model.named_weights().values()).shape)
    model.perturb(0.5, noise, n_edges=10)
    batch, final = bench.batch, model.forward(ego, model.adjacency)
    losses = [cls.model_loss(model, batch, ego, final, []) for cls in (type(model), Transformed)]
    term = losses[0] - losses[1]
    expected = 0.0
    for part, drawn in zip((ego, *model.named_weights().values()), unpacked_noise(noise, model)):
        expected = expected + 0.25 * part.square().sum() + (drawn * part).sum()
    torch.testing.assert_close(term, expected / 10, rtol=1e-4, atol=1e-5)


def unpacked_noise(noise, model):
    table, weights = unpacked(noise, model)
    return [table, *weights.values()]


@pytest.mark.parametrize("name", ["SCIF", "IFRU"])
def test_methods_of_chosen_rows_move_these_and_the_weights(registered, prepared, name):
    run = prepared(registered(Transformed), unlearn_methods=name)
    method = METHODS[name](run.config, run.data, run.original)
    method.prepare()
    method.hessian = lambda x: 2 * x
    moved = method.solve(torch.ones_like(method.point))[0]
    n_nodes = run.data.graph.n_nodes
    rows = {"SCIF": "rows_of_request", "IFRU": "_important_rows"}[name]
    expected = torch.cat([getattr(method, rows)(), torch.ones(len(moved) - n_nodes, dtype=torch.bool)])
    torch.testing.assert_close(moved, expected[:, None] * torch.ones_like(moved) / 2.3)
    assert 0 < expected[:n_nodes].sum() < n_nodes


REVISE = ("Retrain", "SISA", "GIF")


def test_rows_say_which_weights_are_not_unlearned_and_files_load(registered, settings, tmp_path):
    settings = {**settings, "unlearn_methods": [*REVISE, "DropEdges", "UnlearnRec", "GNNDelete"], "epochs": 8}
    report = run_unlearn("NGCF", "tiny", config_dict={**settings, "hidden_size_list": [8, 6]})
    remarks = {(row["method"], row["stage"]): " ".join(row.get("remarks", [])) for row in report["results"]}
    silent = {name for name, said in remarks.items() if "not unlearned" not in said}
    said = "not unlearned: GNNlayers (trained on the forgotten, and unchanged)"
    assert said in remarks["DropEdges", ""] and said in remarks["UnlearnRec", "zero-shot"]
    assert silent >= {*((name, "") for name in REVISE), ("UnlearnRec", "fine-tuned"), ("Retrain", "again")}
    assert said in str(report)
    assert "DropEdges: not unlearned: GNNlayers" in summary_table(summarise([report])).splitlines()
    (gnndelete,) = (row for row in report["results"] if row["method"] == "GNNDelete")
    assert "needs a linear `forward`" in str(gnndelete["details"]["no result"])
    for name in ("GIF", "UnlearnRec-fine-tuned"):
        (file,) = (tmp_path / "saved").glob(f"{name}-*.safetensors")
        _, loaded, *_ = load_data_and_model(file)
        assert type(loaded) is MODELS["NGCF"] and len(loaded.named_weights()) == 8


def test_only_parts_that_stay_are_named(registered, prepared):
    run = prepared(registered(Transformed))
    model, ego = run.original, run.original.ego_embeddings()
    kept = {name: weight.detach() for name, weight in model.named_weights().items()}

    def said(**changed):
        return not_unlearned(model.revised(ego, model.graph, changed), model)

    assert said() == ["transform", "scale"]
    assert said(scale=kept["scale"] + 1) == ["transform"]
    assert said(**{"transform.bias": kept["transform.bias"] + 1}) == ["transform.weight", "scale"]
    assert said(**{name: weight + 1 for name, weight in kept.items()}) == []
    assert not_unlearned(model, MODELS["BPR"](run.config, run.data.train)) == []


def test_receraser_keeps_no_weights_of_the_original(prepared):
    run = prepared("NGCF", unlearn_methods="RecEraser", unlearn_receraser_epochs=1, unlearn_receraser_shards=2)
    method = METHODS["RecEraser"](run.config, run.data, run.original)
    method.prepare()
    ((stage, _),) = costed_stages(method, run.config["device"])
    assert not stage.model.named_weights() and not not_unlearned(stage.model, method.before())
    assert torch.equal(stage.model.final_embeddings(), stage.model.ego_embeddings())


def test_a_sequence_says_it_at_every_point(settings):
    settings = {**settings, "unlearn_methods": ["Retrain", "DropEdges"], "unlearn_sequence": 2, "unlearn_floor_runs": 0}
    rows = run_unlearn("NGCF", "tiny", config_dict=settings, saved=False)["sequence"]
    said = {(row["method"], row["after"]): row.get("not unlearned") for row in rows}
    assert [said["DropEdges", after] for after in (1, 2)] == ["GNNlayers"] * 2
    assert not any(names for (method, _), names in said.items() if method != "DropEdges")


def test_the_own_map_is_the_mean_jacobian_of_a_row(bench):
    model = bench("NGCF", **PLAIN, embedding_size=4, hidden_size_list=[3]).model.double()
    adjacency = model.adjacency = model.adjacency.double()
    ego = model.ego_embeddings().detach()
    jacobian = torch.autograd.functional.jacobian(lambda table: model.forward(table, adjacency), ego)
    nodes = torch.arange(len(ego))
    of_rows = jacobian[nodes, :, nodes]  # (N, D, d)
    expected = of_rows.mean(dim=0)
    estimate = own_map(model, torch.Generator().manual_seed(1))
    assert expected.shape == estimate.shape == (7, 4)
    assert (estimate - expected).norm() < 0.1 * expected.norm()
    response, _ = readout_response(model, torch.Generator().manual_seed(1), expected)
    along = (of_rows * expected).sum(dim=(1, 2)) / expected.square().sum()
    assert np.corrcoef(response, along.clamp(min=0))[0, 1] > 0.5


def test_the_encoder_sees_embeddings_through_the_weights(registered, prepared, tmp_path):
    """Where rows are transformed, moving them without knowing how would not bring the scores to their targets."""
    run = prepared(registered(Transformed), epochs=30, embedding_size=8)
    method = METHODS["UnlearnRec"](run.config.replace(unlearn_finetune_epochs=0), run.data, run.original)
    method.prepare()
    encoder, request = method.encoder.encoder, run.data.request
    revision = encoder(run.original, run.data.remaining_graph, request)
    transform = run.original.transform.weight.detach() * run.original.scale.detach()
    torch.testing.assert_close(encoder.own, transform, rtol=0, atol=0.1 * float(transform.norm()))

    def scores(ego):
        final = run.original.forward(ego, run.data.remaining_graph.adjacency).detach()
        return (final[request.users] * final[request.items + run.original.n_users]).sum(dim=1)

    before = scores(run.original.ego_embeddings())
    gaps = (before - torch.minimum(revision.targets, before))[revision.matters]
    left = (scores(revision.ego) - torch.minimum(revision.targets, before))[revision.matters]
    assert left.abs().sum() < 0.5 * gaps.sum()

    encoder_file.write(str(tmp_path / "encoder.safetensors"), encoder)
    again = encoder_file.read(str(tmp_path / "encoder.safetensors"), run.data.graph.n_nodes, run.config)
    assert torch.equal(again(run.original, run.data.remaining_graph, request).ego, revision.ego)


class Misnamed(Transformed):
    weights_beyond_table = ("transform", "scale", "mixing")


class OfTheTable(Transformed):
    weights_beyond_table = ("transform", "scale", "user_embedding")


class Idle(Transformed):
    def forward(self, ego, adjacency):
        return self.scale * ego


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Deep, r"Deep cannot be unlearned: it trains transform.weight.* `weights_beyond_table = \('transform',\)`"),
        (Misnamed, "Misnamed.weights_beyond_table names 'mixing', but nothing besides its table"),
        (OfTheTable, "OfTheTable.weights_beyond_table names 'user_embedding'"),
        (Idle, "The loss of Idle has no gradient for its transform.weight"),
    ],
)
def test_what_is_not_named_or_not_trained_is_refused(registered, settings, model, message):
    with pytest.raises(UsageError, match=message):
        run_unlearn(registered(model), "tiny", config_dict=settings, saved=False)


def test_several_processes_are_refused_in_one_line(configure):
    config = configure("NGCF", nproc=2)
    data = prepare_data(config)
    with pytest.raises(UsageError, match="--nproc=2 divides .* but GNNlayers of NGCF mix them: leave out --nproc"):
        train_backbone(config, data.train, "original", data.valid_data)


def test_a_history_is_not_cut(configure):
    with pytest.raises(UsageError, match="'history_len' must be empty, because a history is never cut, not 20"):
        configure("SimpleX", history_len=20)


def test_the_papers_encoder_needs_equal_widths(prepared):
    run = prepared("NGCF")
    with pytest.raises(NoResult, match="NGCF's are 200 and 8 wide; use `ie_target: unseen`"):
        Pretrained(run.config, run.data, run.original)


@pytest.fixture(scope="module")
def ngcf(tmp_path_factory, data_path):
    folder = tmp_path_factory.mktemp("ngcf")
    return train(folder, data_path, model="NGCF")


def test_a_store_revises_no_such_model_but_trains_it_anew(ngcf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, request = str(ngcf), [user("r1", "u3")]
    store = prepare(path)
    with pytest.raises(UsageError, match="NGCF also learns in GNNlayers, .*: --exact trains it anew on what remains"):
        unlearn(path, request)
    assert not store.pending() and not unlearn(path)["status"]
    result = unlearn(path, request, exact=True)
    assert result["receipts"]["r1"]["method"] == "Retrain" and not result["failed_checks"]
    before, after = load_model(path)[1], load_model(result["model"])[1]
    changed = [not torch.equal(*both) for both in zip(before.named_weights().values(), after.named_weights().values())]
    assert len(changed) == 12 and all(changed)
    assert verify(path).is_clean()


def test_an_unnamed_weight_never_trains(registered, configure):
    config = configure(registered(Deep))
    with pytest.raises(UsageError, match="Deep cannot be unlearned: it trains transform.weight, transform.bias"):
        train_backbone(config, prepare_data(config).train, "original")


def test_names_of_weights_match_whole_parts():
    model = torch.nn.Module.__new__(UnlearnableRecommender)
    torch.nn.Module.__init__(model)
    model.gnn, model.gnn_extra = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    model.weights_beyond_table = ("gnn",)
    assert list(model.named_weights()) == ["gnn.weight", "gnn.bias"]
