"""Networks against RecBole's own classes, their curvature in double precision, and what unlearns them."""

import copy

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model import general_recommender as stock
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_unlearn import run_unlearn
from recbole_unlearn.check import network as checks
from recbole_unlearn.check.bench import fresh
from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges_of
from recbole_unlearn.deletion.importing.checkpoint import import_checkpoint
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.method import METHODS
from recbole_unlearn.method.influence.curvature import Curvature
from recbole_unlearn.model import MODELS, NetworkRecommender
from recbole_unlearn.model_file import load_model, read_content, save_model, write_content
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import MethodContract
from recbole_unlearn.testing.method import asking_for
from recbole_unlearn.testing.runs import scores
from recbole_unlearn.trainer import ResumableTrainer, loader_of

SMALL = {"mlp_hidden_size": [6], "latent_dimension": 4, "train_batch_size": 16, "learning_rate": 0.02, "epochs": 4}
SMALL |= {"dropout_prob": 0.5, "total_anneal_steps": 40, "anneal_cap": 0.2}


@pytest.fixture
def built(configure):
    """A model with weights of a size at which it is not linear, and the data of its run."""

    def build(**changes):
        config = configure("MultiVAE", **{**SMALL, **changes})
        data = prepare_data(config)
        return config, data, fresh(config, data.train)

    return build


def everybody(model):
    return Interaction({"user_id": torch.arange(model.n_users)})


@pytest.mark.parametrize("steps", [40, 0])
def test_multivae_is_recboles(built, steps):
    config, data, model = built(total_anneal_steps=steps)
    remaining = with_edges_of(data.train, data.remaining_graph)
    for mine, dataset in ((model, data.train), (model.on_graph(data.remaining_graph), remaining)):
        theirs = stock.MultiVAE(config, dataset)
        theirs.load_state_dict({name: weight for name, weight in mine.state_dict().items() if name != "updates"})
        batch = Interaction({"user_id": torch.unique(dataset_graph(dataset).users)[::2].contiguous()})
        for training in (True, False):
            losses = []
            for network in (mine, theirs):
                network.train(training)
                torch.manual_seed(3)  # of dropout and of the code
                losses.append([network.calculate_loss(batch).item() for _ in range(10)])
            np.testing.assert_allclose(*losses, rtol=1e-6)
        raw = theirs.full_sort_predict(everybody(mine)).view(mine.n_users, -1)
        torch.testing.assert_close(scores(mine), torch.log_softmax(raw, dim=1))


def test_a_network_that_keeps_its_input_is_refused(configure, monkeypatch):
    class Keeps(MODELS["MultiVAE"]):
        def set_graph(self, graph):
            super().set_graph(graph)
            self.input = getattr(self, "input", self.graph)

        def get_rating_matrix(self, user):
            matrix = torch.zeros(len(user), self.n_items)
            matrix[self.input.items_of(user)] = 1.0
            return matrix

    monkeypatch.setitem(MODELS._classes, "Keeps", Keeps)
    config = configure("Keeps", **SMALL)
    with pytest.raises(UsageError, match=r"Keeps.on_graph (scores|learns)"):
        for check in checks.CHECKS:
            check(checks.Net.of(config, prepare_data(config).train))


def test_a_network_whose_buffers_learn_is_refused(configure, monkeypatch):
    class Normed(MODELS["MultiVAE"]):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.norm = torch.nn.BatchNorm1d(self.n_items, affine=False)

        def get_rating_matrix(self, user):
            return self.norm(super().get_rating_matrix(user))

    monkeypatch.setitem(MODELS._classes, "Normed", Normed)
    config = configure("Normed", **SMALL)
    with pytest.raises(UsageError, match=r"Normed changes 'norm\.\w+' while it trains"):
        checks.training_changes_weights_alone(checks.Net.of(config, prepare_data(config).train))


def test_a_network_whose_input_no_graph_holds_is_refused_as_it_is_written():
    with pytest.raises(
        UsageError,
        match=r"^Ordered is a sequential recommender[^\n]*no features, and an OrderedNetwork the order of its edges\.$",
    ):
        type("Ordered", (NetworkRecommender, SequentialRecommender), {})


def test_curvature_by_finite_differences_in_double_precision(built):
    _, data, model = built()
    model = model.double().eval()
    model.updates += 20
    examples = model.examples()
    curvature = Curvature(model, len(examples))

    def at(change):
        return model.revised(curvature.moved(change), model.graph)

    gradient, generator = curvature.gradient(examples), torch.Generator().manual_seed(1)
    for _ in range(3):
        x = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        step = 1e-5 * x / x.norm()
        ahead, behind = at(step), at(-step)
        slope = (checks.Net(None, None, ahead).losses(ahead) - checks.Net(None, None, behind).losses(behind)).mean()
        np.testing.assert_allclose((gradient @ step).item() * 2, slope.item(), rtol=1e-6)
        difference = Curvature(ahead, len(examples)).gradient(examples) - Curvature(behind, len(examples)).gradient(
            examples
        )
        product = curvature.product(examples, step)
        np.testing.assert_allclose(2 * product, difference, atol=1e-6 * difference.abs().max().item())


def test_the_influence_function_solves_its_damped_equations(prepared):
    solver = {"unlearn_cg_damping": 30.0, "unlearn_cg_iterations": 200, "unlearn_cg_tolerance": 1e-5}
    run = prepared("MultiVAE", **SMALL, **solver, unlearn_methods="InfluenceCG")
    (stage,) = METHODS["InfluenceCG"](run.config, run.data, run.original).unlearn()
    exact = copy.deepcopy(run.original).double()
    examples = exact.examples()
    curvature = Curvature(exact, len(examples))
    n_weights = sum(weight.numel() for weight in exact.weights().values())
    unit = torch.eye(n_weights, dtype=torch.float64)
    hessian = torch.stack([curvature.product(examples, row) for row in unit])
    torch.testing.assert_close(hessian, hessian.t(), atol=1e-9, rtol=0)
    remaining = exact.on_graph(run.data.remaining_graph)
    v = curvature.gradient(examples) - Curvature(remaining, len(examples)).gradient(remaining.examples())
    expected = torch.linalg.solve(hessian + 30 * unit, v)
    flat = torch.nn.utils.parameters_to_vector
    moved = flat(stage.model.weights().values()) - flat(run.original.weights().values())
    np.testing.assert_allclose(moved.detach(), expected, atol=2e-3 * expected.abs().max().item())
    assert stage.details["residual"] == "0.00"


class TestFineTuneOfANetwork(MethodContract):
    method, backbone, settings = METHODS["FineTune"], "MultiVAE", {**SMALL, "unlearn_tune_epochs": 2}


class TestInfluenceOfANetwork(MethodContract):
    method, backbone, settings = METHODS["InfluenceCG"], "MultiVAE", {**SMALL, "unlearn_cg_damping": 1.0}


class TestSISAOfANetwork(MethodContract):
    method, backbone, settings = METHODS["SISA"], "MultiVAE", {**SMALL, "epochs": 2}


def test_fine_tuning_goes_on_from_the_original_and_learns_what_remains(prepared):
    run = prepared("MultiVAE", **SMALL, unlearn_tune_epochs=3, unlearn_methods="FineTune")
    method = METHODS["FineTune"](run.config, run.data, run.original)
    (stage,) = method.unlearn()
    remaining = run.original.on_graph(run.data.remaining_graph)
    loader = loader_of(run.config, remaining, run.data.remaining)
    settings = method.config.stream("fine-tuning").replace(epochs=3)
    ResumableTrainer(settings, remaining, "by-hand").fit(loader, saved=False, verbose=False)
    assert torch.equal(scores(remaining.eval()), scores(stage.model))
    assert not stage.model.graph.contains(run.data.request.users, run.data.request.items).any()


def test_shards_of_a_network_are_of_users_and_score_by_their_mean(prepared):
    run = prepared("MultiVAE", **{**SMALL, "epochs": 2}, unlearn_methods="SISA")
    run = asking_for(run, run.data.graph.users == run.data.graph.users[0])
    method = METHODS["SISA"](run.config, run.data, run.original)
    method.prepare()
    users = run.data.graph.users
    for user in torch.unique(users):
        assert len(torch.unique(method.shard[users == user])) == 1
    (stage,) = method.unlearn()
    assert stage.details["shards retrained"] == "1 of 3"
    members = [scores(member) for member in stage.model.members]
    torch.testing.assert_close(scores(stage.model), torch.stack(members).mean(dim=0))
    untouched = [k for k in range(3) if k != method.shard[0]]
    flat = torch.nn.utils.parameters_to_vector
    for k in untouched:
        assert torch.equal(flat(stage.model.members[k].weights().values()), method.shards[k][0])
    assert not torch.equal(flat(stage.model.members[method.shard[0]].weights().values()), method.shards[0][0])


def test_a_training_resumes_with_the_weight_of_its_divergence(whole_and_resumed):
    whole, resumed = whole_and_resumed("MultiVAE", **SMALL)
    assert int(resumed.updates) == int(whole.updates) > 4


def test_a_file_of_a_network_loads_or_is_refused_in_a_line(built, tmp_path):
    config, data, model = built()
    model = model.on_graph(data.remaining_graph)
    path = str(tmp_path / "model.safetensors")
    save_model(path, model, config, data.train)
    _, loaded, _ = load_model(path)
    assert isinstance(loaded, NetworkRecommender) and torch.equal(scores(loaded), scores(model))
    content = read_content(path)
    write_content(path, {**content, "config": {**content["config"], "mlp_hidden_size": [10**9]}})
    with pytest.raises(UsageError, match="does not fit its settings"):
        load_model(path)
    save_model(path, model, config, data.train)
    with pytest.raises(UsageError, match=r"^[^\n]*a network: a store revises tables and fits[^\n]*$"):
        import_checkpoint(path)


def test_several_processes_are_refused(settings):
    with pytest.raises(UsageError, match=r"^Setting 'nproc'[^\n]*MultiVAE has none"):
        Config("MultiVAE", "tiny", config_dict={**settings, "nproc": 2})


def test_a_run_on_a_network_names_the_methods_that_do_not_serve_it(settings):
    methods = ["Retrain", "FineTune", "InfluenceCG", "SISA", "UnlearnRec", "DropEdges"]
    chosen = {**SMALL, "epochs": 2, "unlearn_methods": methods, "forget_type": "item", "unlearn_cg_damping": 10.0}
    report = run_unlearn("MultiVAE", "tiny", config_dict={**settings, **chosen})
    rows = {row["method"]: row for row in report["results"]}
    assert rows["UnlearnRec"]["details"] == {
        "no result": "MultiVAE has no table of users and items that gradients train"
    }
    for name in ("original", "Retrain", "FineTune", "InfluenceCG", "SISA", "DropEdges"):
        assert np.isfinite([rows[name]["recall@5"], rows[name]["MI-BF"], rows[name]["AUC_FN"]]).all()
