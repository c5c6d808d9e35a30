"""Fitted models through the pipeline and in a store."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_rows, write_atomic
from served import data_of, item, pairs, scores_of, user

from recbole_unlearn import load_data_and_model, run_unlearn
from recbole_unlearn.check.backbone import check_backbone
from recbole_unlearn.deletion.service import Deletion
from recbole_unlearn.deletion.verify.verification import verify
from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.metrics import logistic_curve
from recbole_unlearn.files import tensor_file
from recbole_unlearn.model import MODELS
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.sweep.space import swept_method
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone

GAPS = ("MI-BF_gap", "MI-NG_gap", "AUC_FN_gap", "AUC_FT_gap")


def by_method(rows):
    return {(row["method"], row["stage"]): row for row in rows}


def test_a_run_compares_exact_forgetting_with_a_refit(settings):
    methods = ["Retrain", "UnlearnRec", "Exact", "DropEdges"]
    given = {**settings, "forget_type": "adversarial", "unlearn_methods": methods, "unlearn_sequence": 2}
    report = run_unlearn("EASE", "tiny", config_dict={**given, "reg_weight": 10.0})
    rows, gaps = by_method(report["results"]), by_method(report["gaps"])
    no_result = str(rows["UnlearnRec", ""]["details"]["no result"])
    assert no_result == "EASE has no table of users and items that gradients train"
    assert max(gaps["Exact", ""][key] for key in GAPS) < 1e-9
    assert [gaps["Exact", ""][f"{key}_floors"] for key in GAPS] == [0] * 4
    assert gaps["Exact", ""]["over_forgotten"] == gaps["Exact", ""]["under_forgotten"] == 0
    assert any("no floor" in remark for remark in rows["Retrain", "again"]["remarks"])
    dropped = gaps["DropEdges", ""]
    assert dropped["AUC_FN_gap"] > 0.05 and np.isnan(dropped["AUC_FN_gap_floors"])
    assert 0.2 < rows["original", ""]["MI-NG"] * rows["Retrain", ""]["MI-NG"]  # probabilities, not flat scores
    sequence = {(row["method"], row["after"]): row for row in report["sequence"] if row["stage"] != "again"}
    assert "no table" in sequence["UnlearnRec", 0]["no result"]
    assert max(sequence["Exact", 2][key] for key in GAPS) < 1e-9
    (file,) = Path(settings["checkpoint_dir"]).glob("Exact-EASE-*.safetensors")
    _, model, *_ = load_data_and_model(file)
    assert model.deviation(torch.arange(1, model.n_items)) < 1e-12


@pytest.mark.parametrize(("name", "kind"), [("ItemKNN", "user"), ("SLIMElastic", "item"), ("ALS", "random")])
def test_every_kind_of_request_is_forgotten(settings, name, kind):
    given = {**settings, "forget_type": kind, "unlearn_floor_runs": 0, "k": 8, "alpha": 0.05, "forget_ratio": 0.1}
    report = run_unlearn(name, "tiny", config_dict=given)
    gaps = by_method(report["gaps"])
    assert set(gaps) == {("Exact", ""), ("DropEdges", "")}
    difference = max(gaps["Exact", ""][key] for key in GAPS if not np.isnan(gaps["Exact", ""][key]))
    assert difference < (1e-9 if name != "ALS" else 0.5)


def test_what_a_fit_has_no_use_for_is_refused(settings, configure):
    with pytest.raises(UsageError, match="'nproc' is for trainings, and EASE is fitted"):
        run_unlearn("EASE", "tiny", config_dict={**settings, "nproc": 2})
    with pytest.raises(UsageError, match="EASE has no table"):
        swept_method(configure("EASE", unlearn_methods=["UnlearnRec"]))
    with pytest.raises(UsageError, match="positive_only"):
        run_unlearn("SLIMElastic", "tiny", config_dict={**settings, "positive_only": False})


def test_a_logistic_curve_gives_the_share_of_positives():
    generator = np.random.default_rng(0)
    positives, negatives = generator.normal(0.3, 0.1, 40_000), generator.normal(0.1, 0.1, 40_000)
    slope, offset = logistic_curve(positives, negatives)  # two normal classes: slope (m1 - m0) / s^2
    assert slope == pytest.approx(20, rel=0.02) and offset == pytest.approx(-4, rel=0.02)
    assert logistic_curve(positives, negatives[:100])[0] == pytest.approx(20, rel=0.25)
    assert logistic_curve(negatives, positives) == logistic_curve(positives[:0], negatives) == (1, 0)
    apart = logistic_curve(np.array([1.0, 2.0]), np.array([-1.0, -2.0]))
    assert 0 < apart[0] < 10


@pytest.fixture
def checkpoint(configure, tmp_path):
    """The checkpoint of a fitted model, alone in a folder."""

    def fit(name, **changes):
        config = configure(name, unlearn_least_utility=0.1, **changes)
        data = prepare_data(config)
        model = train_backbone(config, data.train, "original").model
        path = str(tmp_path / "models" / f"{name}.safetensors")
        save_model(path, model, config, data.train)
        return path

    return fit


@pytest.mark.parametrize("name", ["EASE", "ItemKNN", "SLIMElastic", "ALS"])
def test_a_store_forgets_exactly_and_says_so(checkpoint, name):
    path = checkpoint(name, als_residual=0.01)
    deletion = Deletion(path, {"unlearn_exact_columns": 0})
    first = deletion.unlearn([user("r1", "u3")])
    second = deletion.unlearn([pairs("r2", data_of(Path(first["store"], "current"))["train"][7])])
    (receipt,) = second["receipts"].values()
    (check,) = [
        check for check in receipt["checks"] if "items" in check["name"] and check["name"].startswith(("l", "r"))
    ]
    assert check["passed"] and check["required"] and check["value"] <= (1e-12 if name != "ALS" else 0.01)
    _, model, tokens = load_model(second["model"])
    assert "u3" not in tokens["user"] and not scores_of(model)[tokens["user"].index(None)].any()
    if name == "ALS":
        assert receipt["method"] == "Alternation to a residual of the normal equations of 0.01"
    else:
        assert receipt["method"] == "Exact" and receipt["drift"]["requests"] == 0
        refit = model.fitted(model.graph)
        np.testing.assert_allclose(scores_of(model), scores_of(refit), atol=1e-12)
    page = Path(second["store"], "receipts", "r2.html").read_text()
    assert ("exactly, up to rounding" in page) == (name != "ALS")
    if name == "EASE":
        again = deletion.unlearn([user("r3", "u4")], exact=True)
        assert again["receipts"]["r3"]["method"] == "Retrain"
        assert verify(path).is_clean()


def test_weights_that_are_no_fit_are_refused(checkpoint):
    path = checkpoint("EASE")
    tensors, settings = tensor_file.read(path, "model")
    tensors["state_dict.inverse"][3, 4] += 1e-6
    tensor_file.write(path, "model", tensors, settings)
    with pytest.raises(UsageError, match="no fit to its training rows"):
        Deletion(path).unlearn([user("r1", "u3")])
    tensors["state_dict.inverse"] = tensors["state_dict.inverse"][:3]
    tensor_file.write(path, "model", tensors, settings)
    with pytest.raises(UsageError, match="its inverse is torch.float64 of shape"):
        load_model(path)


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """Import the model that docs/extend.md shows, perhaps with a text replaced; returns its class."""

    def load(old="", new=""):
        text = Path(__file__, "../../docs/extend.md").resolve().read_text(encoding="utf-8")
        code = text.partition("# my_popularity.py\n")[2].partition("```")[0]
        assert old in code
        (tmp_path / "own_fit.py").write_text(code.replace(old, new))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(MODELS, "_classes", dict(MODELS._classes))
        monkeypatch.delitem(sys.modules, "own_fit", raising=False)
        return importlib.import_module("own_fit").Popularity

    return load


def test_the_page_s_model_forgets_exactly(own_model, settings):
    own_model()
    methods = ["Retrain", "Exact", "DropEdges"]
    report = run_unlearn("Popularity", "tiny", config_dict={**settings, "unlearn_methods": methods})
    assert max(by_method(report["gaps"])["Exact", ""][key] for key in GAPS) < 1e-9


def test_a_fit_that_does_not_forget_is_refused_before_the_run(own_model, configure):
    own_model('self.state["counts"] - torch', 'self.state["counts"] + torch')
    config = configure("Popularity")
    data = prepare_data(config)
    with pytest.raises(UsageError, match="Popularity.forget ends with a largest difference to a refit of"):
        check_backbone(config, data.train, data.graph)


@pytest.mark.parametrize("name", ["EASE", "ItemKNN", "SLIMElastic", "ALS"])
def test_a_store_without_some_items_and_users_is_clean(checkpoint, tmp_path, name):
    """With as many users as items, whose tables look alike."""
    rows = [row for row in tiny_rows() if int(row[0][1:]) < 30]
    write_atomic(tmp_path / "square" / "tiny" / "tiny.inter", rows)
    path = checkpoint(name, als_residual=0.1, embedding_size=2, data_path=str(tmp_path / "square"))
    deletion = Deletion(path)
    for request in (item("r1", "i3"), item("r2", "i4"), user("r3", "u7")):
        deletion.unlearn([request])
        found = verify(path)
        assert found.is_clean(), found.findings
