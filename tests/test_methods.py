"""What every unlearning method must hold to; one test class over the whole registry."""

import copy
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import properties_folder
from recbole_unlearn.data.request import Request
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.method import METHODS, Unlearner
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.trainer import train_backbone

BACKBONES = ["BPR", "LightGCN", "SGL", "SimGCL"]


def unlearned(name, run):
    """Stages of a method: ``{stage: model}``."""
    method = METHODS[name](run.config, run.data, run.original)
    earlier = method.prepare()
    stages = list(method.unlearn())
    assert earlier >= 0 and stages and all(stage.seconds_before >= 0 for stage in stages)
    return {stage.name: stage.model for stage in stages}


def scores(model):
    return model.full_sort_predict(Interaction({model.USER_ID: torch.arange(model.n_users)}))


def content(run):
    """A deep copy of all that a method is given and must not change."""
    data = run.data
    graphs = [data.graph, data.remaining_graph, data.valid, data.test, run.original.graph]
    tensors = [tensor for graph in graphs for tensor in (graph.users, graph.items, graph.item_order)]
    tensors += [data.request.users, data.request.items, run.original.adjacency.values()]
    tensors += [
        dataset.inter_feat[field] for dataset in (data.train, data.remaining) for field in ("user_id", "item_id")
    ]
    return copy.deepcopy([*tensors, *run.original.state_dict().values()])


@pytest.mark.parametrize("name", list(METHODS))
class TestContract:
    def test_it_is_an_unlearner_with_yaml_and_citation(self, name):
        assert issubclass(METHODS[name], Unlearner)
        assert (properties_folder() / "method" / f"{name}.yaml").is_file()
        assert re.search(r"Reference: (.|\n)+\b(19|20)\d\d\b", METHODS[name].__doc__)

    @pytest.mark.parametrize("backbone", BACKBONES)
    def test_it_works_on_every_backbone_and_changes_nothing_it_was_given(self, prepared, name, backbone):
        run = prepared(backbone, unlearn_methods=name)
        before, settings = content(run), run.config.as_dict()
        for model in unlearned(name, run).values():
            assert torch.isfinite(scores(model)).all()
            metrics, _ = UnlearningEvaluator(run.config, run.data, run.original).evaluate(model)
            assert np.isfinite(list(metrics.values())).all(), metrics
        assert all(torch.equal(old, new) for old, new in zip(before, content(run), strict=True))
        assert run.config.as_dict() == settings

    @pytest.mark.parametrize("backbone", ["SGL", "SimGCL"])
    def test_two_runs_are_equal(self, prepared, tmp_path, name, backbone):
        run = prepared(backbone, unlearn_methods=name)
        results = []
        for folder in ("first", "second"):
            torch.manual_seed(len(results))
            config = run.config.replace(checkpoint_dir=str(tmp_path / folder))
            results.append(unlearned(name, SimpleNamespace(config=config, data=run.data, original=run.original)))
        for stage in results[0]:
            assert torch.equal(scores(results[0][stage]), scores(results[1][stage])), stage

    def test_what_it_prepared_serves_again(self, prepared, name):
        run = prepared(unlearn_methods=name)
        method = METHODS[name](run.config, run.data, run.original)
        method.prepare()
        first, second = ({stage.name: scores(stage.model) for stage in method.unlearn()} for _ in range(2))
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

    def test_it_goes_on_from_what_it_saved(self, prepared, name):
        run = prepared(unlearn_methods=name)
        first, second = unlearned(name, run), unlearned(name, run)
        for stage in first:
            assert torch.equal(scores(first[stage]), scores(second[stage])), stage

    @pytest.mark.parametrize(
        "changes, n_edges",
        [({"forget_ratio": 1e-9}, 1), ({"forget_type": "user", "forget_users": "u3"}, 8), ({"forget_ratio": 1.0}, 320)],
        ids=["one edge", "a user", "everything"],
    )
    def test_one_edge_a_user_and_everything(self, prepared, name, changes, n_edges):
        run = prepared(**changes, unlearn_methods=name)
        assert len(run.data.request) == n_edges
        for model in unlearned(name, run).values():
            assert torch.isfinite(scores(model)).all()

    @pytest.mark.parametrize("backbone", BACKBONES)
    def test_five_per_cent(self, prepared, name, backbone):
        run = prepared(backbone, forget_ratio=0.05, unlearn_methods=name)
        assert len(run.data.request) == 16
        for model in unlearned(name, run).values():
            assert torch.isfinite(scores(model)).all()

    @pytest.mark.parametrize("backbone", BACKBONES)
    def test_an_empty_request_changes_nothing(self, prepared, name, backbone):
        run = prepared(backbone, unlearn_methods=name)
        none = torch.empty(0, dtype=torch.long)
        data = replace(run.data, request=Request(none, none), remaining=run.data.train, remaining_graph=run.data.graph)
        method = METHODS[name](run.config, data, run.original)
        method.prepare()
        for stage in method.unlearn():
            torch.testing.assert_close(scores(stage.model), scores(method.before()), rtol=0, atol=1e-6)

    def test_saved_models_score_as_before(self, prepared, tmp_path, name):
        run = prepared(unlearn_methods=name)
        for stage, model in unlearned(name, run).items():
            save_model(tmp_path / "model.safetensors", model, run.config, run.data.train)
            _, loaded, _ = load_model(tmp_path / "model.safetensors")
            assert torch.equal(scores(loaded), scores(model)), stage

    def test_its_models_hold_no_forgotten_edge(self, prepared, name):
        run = prepared(unlearn_methods=name)
        for model in unlearned(name, run).values():
            assert not model.graph.contains(run.data.request.users, run.data.request.items).any()

    def test_it_looks_at_no_test_data(self, prepared, name):
        run = prepared(unlearn_methods=name)
        blind = SimpleNamespace(**{key: value for key, value in vars(run.data).items() if not key.startswith("test")})
        unlearned(name, SimpleNamespace(config=run.config, data=blind, original=run.original))

    def test_preparing_does_not_look_at_the_request(self, prepared, name):
        run = prepared(unlearn_methods=name)
        hidden = ("request", "remaining", "remaining_graph", "test", "test_data")
        blind = SimpleNamespace(**{key: value for key, value in vars(run.data).items() if key not in hidden})
        METHODS[name](run.config, blind, run.original).prepare()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_dropping_edges_is_the_old_table_on_the_remaining_graph(prepared, backbone):
    run = prepared(backbone)
    model = unlearned("DropEdges", run)[""]
    assert torch.equal(model.ego_embeddings(), run.original.ego_embeddings())
    expected = run.original.forward(run.original.ego_embeddings(), run.data.remaining_graph.adjacency)
    assert torch.equal(model.final_embeddings(), expected)


def test_retraining_is_training_on_the_remaining_data(prepared):
    run = prepared()
    expected = train_backbone(run.config, run.data.remaining, "other", run.data.valid_data).model
    assert torch.equal(scores(unlearned("Retrain", run)[""]), scores(expected))


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


def test_unlearnrec_without_finetuning_has_one_stage(prepared):
    assert set(unlearned("UnlearnRec", prepared(unlearn_finetune_epochs=0))) == {"zero-shot"}


def test_unlearnrec_lowers_the_forgotten_scores(prepared):
    run = prepared(epochs=20, ie_epochs=20, ie_unlearning_weight=5.0, ie_learning_rate=0.05, forget_ratio=0.05)
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
