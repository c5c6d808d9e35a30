"""Every registered method by the contract on every backbone, and what single methods promise."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer

from recbole_unlearn import run_unlearn
from recbole_unlearn.data.copies import with_extra_edges
from recbole_unlearn.data.request import Request
from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.graph import in_any
from recbole_unlearn.method import METHODS, Stage, Unlearner
from recbole_unlearn.model import UnlearnableRecommender, dataset_graph
from recbole_unlearn.report.tables import tables
from recbole_unlearn.testing import MethodContract
from recbole_unlearn.testing.method import Done
from recbole_unlearn.testing.runs import scores

BACKBONES = ["BPR", "LightGCN", "SGL", "SimGCL"]


def unlearned(name, run):
    """Stages of a method: ``{stage: model}``."""
    return {stage.name: stage.model for stage, _ in Done.of(METHODS[name], run).stages}


ONCE = (  # independent of the backbone, and slow
    "test_it_loads_what_it_saved",
    "test_what_it_prepared_serves_again",
    "test_saved_models_score_as_before",
    "test_one_edge_a_user_and_everything",
    "test_it_goes_on_from_its_own_result",
)
TABLES = [name for name in METHODS if issubclass(UnlearnableRecommender, METHODS[name].serves)]
for _name, _backbone in itertools.product(TABLES, BACKBONES):  # a new method is tested by being registered
    _test = f"Test{_name}On{_backbone}"
    _left_out = dict.fromkeys(ONCE if _backbone != "LightGCN" and _name != "UnlearnRec" else ())
    if _name == "Retrain":  # it trains anew, with a random stream of its own, whatever the request
        _left_out["test_an_empty_request_changes_nothing"] = None
    globals()[_test] = type(_test, (MethodContract,), {"method": METHODS[_name], "backbone": _backbone, **_left_out})


class TestExactOnEASE(MethodContract):
    """The method of fitted models."""

    method, backbone = METHODS["Exact"], "EASE"


class TestUnlearnRecOfThePaper(MethodContract):
    """The encoder that pre-trains on simulated requests."""

    method, backbone, settings = METHODS["UnlearnRec"], "SGL", {"ie_target": "negative"}


@pytest.mark.parametrize("name", list(METHODS))
def test_it_is_an_unlearner_with_a_citation(name):
    assert issubclass(METHODS[name], Unlearner)
    assert re.search(r"Reference: (.|\n)+\b(19|20)\d\d\b", METHODS[name].__doc__)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_dropping_edges_is_the_old_table_on_the_remaining_graph(prepared, backbone):
    run = prepared(backbone)
    model = unlearned("DropEdges", run)[""]
    assert torch.equal(model.ego_embeddings(), run.original.ego_embeddings())
    expected = run.original.forward(run.original.ego_embeddings(), run.data.remaining_graph.adjacency)
    assert torch.equal(model.final_embeddings(), expected)


def test_retraining_knows_what_remains_and_nothing_else(prepared, tmp_path):
    run = prepared()
    model, data = unlearned("Retrain", run)[""], run.data
    others = ~in_any(data.observed, *torch.cartesian_prod(torch.arange(1, 41), torch.arange(1, 31)).t())
    users, items = (side[others] for side in torch.cartesian_prod(torch.arange(1, 41), torch.arange(1, 31)).t())
    known = scores(model)[data.remaining_graph.users, data.remaining_graph.items]
    assert known.mean() > scores(model)[users, items].mean()
    extra = users[::40], items[::40]  # forgotten in the place of the actual request
    train = with_extra_edges(data.remaining, *extra)
    run.data = replace(data, train=train, graph=dataset_graph(train), request=Request(*extra))
    run.config = run.config.replace(checkpoint_dir=str(tmp_path / "other"))
    assert torch.equal(scores(unlearned("Retrain", run)[""]), scores(model))


def test_unlearnrec_moves_only_what_the_request_touches(prepared):
    run = prepared(forget_ratio=0.01, ie_target="negative")
    model = unlearned("UnlearnRec", run)["zero-shot"]
    moved = (model.ego_embeddings() != run.original.ego_embeddings()).any(dim=1)
    request = run.data.request
    touched = torch.zeros(len(moved), dtype=torch.bool)
    touched[request.users] = touched[request.items + run.original.n_users] = True
    assert torch.equal(moved, touched)


def test_unlearnrec_leaves_nothing_of_a_user_who_left(prepared):
    run = prepared(forget_type="user", forget_users="u3")
    user = run.data.train.token2id("user_id", "u3")
    for stage, model in unlearned("UnlearnRec", run).items():
        assert not model.ego_embeddings()[user].any(), stage


def test_unlearnrec_has_two_stages_and_without_finetuning_one(prepared):
    run = prepared()
    stages = unlearned("UnlearnRec", run)
    assert list(stages) == ["zero-shot", "fine-tuned"]
    assert not any(torch.equal(model.ego_embeddings(), run.original.ego_embeddings()) for model in stages.values())
    assert set(unlearned("UnlearnRec", prepared(unlearn_finetune_epochs=0))) == {"zero-shot"}


def test_unlearnrec_lowers_the_forgotten_scores(prepared):
    run = prepared(epochs=20, forget_type="adversarial", forget_ratio=0.05)  # pairs that a model would not expect
    request = Interaction({"user_id": run.data.request.users, "item_id": run.data.request.items})
    before = run.original.predict(request).mean()
    dropped = unlearned("DropEdges", run)[""].predict(request).mean()
    for stage, model in unlearned("UnlearnRec", run).items():
        assert model.predict(request).mean() < min(before, dropped), stage


def test_encoder_prepared_once_serves_another_request(prepared, monkeypatch):
    run = prepared(forget_seed=1)
    METHODS["UnlearnRec"](run.config, run.data, run.original).prepare()
    monkeypatch.setattr(Trainer, "_train_epoch", lambda *_, **__: pytest.fail("trained again"))
    again = prepared(forget_seed=2)
    METHODS["UnlearnRec"](again.config, again.data, again.original).prepare()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_mixed_precision(prepared, backbone):
    run = prepared(backbone, enable_amp=True)
    for model in unlearned("UnlearnRec", run).values():
        assert torch.isfinite(scores(model)).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", list(METHODS))
def test_on_a_gpu(prepared, name, backbone):
    run = prepared(backbone, gpu_id="0", device="cuda", unlearn_methods=name)
    assert run.original.device.type == "cuda"
    for model in unlearned(name, run).values():
        metrics, _ = UnlearningEvaluator(run.config, run.data, run.original).evaluate(model)
        assert np.isfinite(list(metrics.values())).all(), metrics


def test_a_diverging_estimate_is_a_row_without_metrics_and_no_model(settings, tmp_path):
    changes = {"unlearn_methods": "GIF,DropEdges", "unlearn_gif_scale": 1e-9}
    result = run_unlearn("LightGCN", "tiny", config_dict={**settings, **changes})
    rows = {row["method"]: row for row in result["results"]}
    assert "explodes" in rows["GIF"]["details"]["no result"] and "MI-BF" not in rows["GIF"]
    assert np.isfinite(rows["DropEdges"]["MI-BF"])
    saved = {path.name.split("-")[0] for path in (tmp_path / "saved").iterdir()}
    assert "DropEdges" in saved and "GIF" not in saved


def test_a_request_that_leaves_nothing_to_tell_apart_is_a_row_without_a_result(settings):
    """The user who stays has every item that is left, so that no training has a negative item to draw."""
    changes = {"forget_type": "user", "forget_users": [f"u{user}" for user in range(1, 40)]}
    changes |= {"unlearn_methods": "Retrain,DropEdges", "unlearn_floor_runs": 1}
    rows = run_unlearn("LightGCN", "tiny", config_dict={**settings, **changes}, saved=False)["results"]
    without, dropped = rows[1:]
    assert "1 user(s) interacted with every item that anybody has" in str(without["details"]["no result"])
    assert dropped["method"] == "DropEdges" and np.isfinite(dropped["AUC_FN"])


def test_metrics_without_a_value_for_each_user(settings):
    changes = {"metrics": ["GAUC"], "valid_metric": "GAUC", "unlearn_methods": "Retrain,DropEdges"}
    result = run_unlearn("LightGCN", "tiny", config_dict={**settings, **changes})
    assert result["groups"] == [] and "rbo@5" in result["gaps"][0]
    assert [title.partition(" (")[0] for title, _ in tables(result)][-1] == "Lists and groups of users against Retrain"


def test_without_a_floor_lists_are_still_compared(settings):
    changes = {"unlearn_floor_runs": 0, "unlearn_methods": "Retrain,DropEdges"}
    found = dict(tables(run_unlearn("LightGCN", "tiny", config_dict={**settings, **changes}, saved=False)))
    columns = [*found["Lists and groups of users against Retrain"]]
    assert columns[2:4] == ["jaccard@5", "rbo@5"] and columns[4].startswith("ndcg@5 ") and "D" not in columns


def test_a_report_that_cannot_be_written_is_refused_before_anything_trains(settings, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    for path, said in (("folder.json", "it is a folder"), ("file/report.json", "cannot be made")):
        given = {**settings, "report_file": str(tmp_path / path)}
        with pytest.raises(UsageError, match=f"The report cannot be .*{said}.*--report_file=FILE.json") as error:
            run_unlearn("LightGCN", "tiny", config_dict=given)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.pth"))


class Returns(Unlearner):
    def unlearn(self):
        return Stage("", self.original)


class GivesTables(Unlearner):
    def unlearn(self):
        yield Stage("", self.original.ego_embeddings())


class CutsTables(Unlearner):
    def unlearn(self):
        yield Stage("", self.revised(self.original, self.original.ego_embeddings()[1:]))


@pytest.mark.parametrize(
    "method, said",
    [
        (Returns, "Returns.unlearn must yield its stages"),
        (GivesTables, r"GivesTables.unlearn must yield Stage\(name, model\) with a model, not Stage"),
        (CutsTables, r"CutsTables revises the model to a table of \(71, 8\), not of \(72, 8\)"),
    ],
)
def test_a_method_that_yields_no_model_has_a_row_that_says_so(settings, monkeypatch, method, said):
    monkeypatch.setitem(METHODS._classes, method.__name__, method)
    changes = {"unlearn_methods": [method.__name__, "DropEdges"]}
    rows = run_unlearn("LightGCN", "tiny", config_dict={**settings, **changes}, saved=False)["results"]
    assert re.search(said, str(rows[1]["details"]["no result"])) and np.isfinite(rows[2]["MI-BF"])
