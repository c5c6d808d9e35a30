"""The report: its keys, its table, its JSON and its figure."""

import json
import math

import numpy as np
import pytest

from recbole_unlearn.cost import Cost
from recbole_unlearn.evaluator.comparison import Comparison, summarise
from recbole_unlearn.report.files import model_file
from recbole_unlearn.report.remarks import remarked
from recbole_unlearn.report.report import Report
from recbole_unlearn.report.tables import row_table
from recbole_unlearn.task import prepare_data

KEYS = {"model", "dataset", "seed", "config", "data", "forget", "interactions", "versions", "results", "gaps", "groups"}
KEYS |= {"sequence"}
FORGET_KEYS = {"type", "n_interactions", "n_users", "n_items", "n_skipped"}
ROW_KEYS = {
    "method",
    "stage",
    "ndcg@5",
    "MI-BF",
    "MI-NG",
    "AUC_FN",
    "AUC_FT",
    "offline_seconds",
    "online_seconds",
    "peak_memory_mb",
}
PNG = b"\x89PNG\r\n\x1a\n"


def metrics(ndcg, mi_bf, mi_ng=1.0, auc_fn=0.5, auc_ft=0.5):
    return {"ndcg@5": ndcg, "MI-BF": mi_bf, "MI-NG": mi_ng, "AUC_FN": auc_fn, "AUC_FT": auc_ft}


def scores(n=40):
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=n).astype(np.float32) for name in ("forget", "negative", "test")}


@pytest.fixture
def filled(configure):
    """A report of one user's request: ``filled(setting=value)``."""

    def fill(**changes):
        config = configure(forget_type="user", forget_users="u3", unlearn_methods="Retrain,UnlearnRec,GIF", **changes)
        report = Report(config, prepare_data(config))
        if not report.rows:
            report.add("original", "", metrics(0.25, math.nan), scores(), 60.0, Cost(0.0, 90.0))
            report.add("UnlearnRec", "zero-shot", metrics(0.2, 2.0, 3.0, 0.7, 0.4), scores(), 12.34, Cost(0.5, 100.4))
            report.add("Retrain", "", metrics(0.4, 4.0, 1.5, 0.5, 0.3), scores(), 0.0, Cost(50.5, 99.0), {"epochs": 7})
            report.add("GIF", details={"no result": "it exploded"})
        return report

    return fill


def test_keys(filled):
    report = filled()
    result = report.finish()
    assert set(result) == KEYS
    assert set(result["forget"]) == FORGET_KEYS
    assert [set(row) - {"details"} for row in result["results"][:3]] == [ROW_KEYS] * 3
    assert (result["model"], result["dataset"], result["seed"]) == ("LightGCN", "tiny", 7)
    assert result["config"] == report.config.as_dict()
    assert result["forget"]["type"] == "user"
    assert (result["forget"]["n_interactions"], result["forget"]["n_users"], result["forget"]["n_items"]) == (8, 1, 8)
    assert (
        set(result["interactions"]) == {"training", "validation", "test"} and min(result["interactions"].values()) > 0
    )
    assert {"python", "recbole", "torch", "numpy", "code"} <= set(result["versions"])


def test_rows_come_in_the_order_of_the_methods(filled):
    assert [row["method"] for row in filled().finish()["results"]] == ["original", "Retrain", "UnlearnRec", "GIF"]


def test_table_has_a_line_a_row(filled):
    lines = row_table(filled().finish()["results"]).to_string(index=False).splitlines()
    assert len(lines) == 5
    assert lines[0].split() == "method stage ndcg@5 MI-BF MI-NG AUC_FN AUC_FT offline s online s peak MB".split()
    assert lines[1].split() == "original 0.2500 1.0000 0.5000 0.5000 60.0 0.000 90".split()
    assert lines[3].split() == "UnlearnRec zero-shot 0.2000 2.0000 3.0000 0.7000 0.4000 12.3 0.500 100".split()
    assert lines[4].split() == ["GIF", "0.0"]


def test_gaps_to_retrain(filled):
    (gap,) = filled().finish()["gaps"]  # not of the original, of Retrain, or of a method without a result
    assert (gap["method"], gap["stage"]) == ("UnlearnRec", "zero-shot")
    assert gap["MI-BF_gap"] == gap["MI-NG_gap"] == pytest.approx(math.log(2))
    assert (gap["AUC_FN_gap"], gap["AUC_FT_gap"]) == (pytest.approx(0.2), pytest.approx(0.1))
    assert (gap["ndcg@5_ratio"], gap["speed_up"]) == (0.5, 101.0)
    assert gap["break_even"] == pytest.approx(12.34 / 50)


def test_no_gaps_without_retrain(filled):
    report = filled()
    assert Comparison([row for row in report.rows if row["method"] != "Retrain"]).gaps() == []


def test_a_method_slower_than_retrain_never_breaks_even(filled):
    report = filled()
    report.add("UnlearnRec", "fine-tuned", metrics(0.2, 2.0), None, 1.0, Cost(60.0, 1.0))
    assert report.finish()["gaps"][1]["break_even"] is None


def stored_json(path):
    return json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@pytest.mark.draws
def test_saved_json_is_the_report_with_nan_as_null(filled, tmp_path):
    report = filled()
    report.rows[1]["MI-BF"] = float("inf")  # the forgotten pairs' probabilities underflowed
    report.finish()
    folder = tmp_path / "saved"
    assert (folder / "LightGCN-tiny-user-7.png").read_bytes().startswith(PNG)
    stored, result = stored_json(folder / "LightGCN-tiny-user-7.json"), report.finish()
    assert [row["MI-BF"] for row in stored["results"][:3]] == [None, 4.0, None]
    assert stored["results"][1] == result["results"][1] and stored["forget"] == result["forget"]


def test_report_file_is_where_the_report_goes(filled, tmp_path):
    report = filled(report_file=str(tmp_path / "new" / "mine.json"))
    report.finish()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "mine-gaps.png",
        "mine-gaps.svg",
        "mine.html",
        "mine.json",
        "mine.npz",
        "mine.png",
        "mine.svg",
    ]


def test_nothing_is_written_unless_saved(configure, tmp_path):
    config = configure()
    report = Report(config, prepare_data(config), saved=False)
    report.finish()
    assert not list(tmp_path.rglob("*.json"))


def test_rows_of_an_interrupted_run_are_taken_over(filled):
    first = filled()
    first.save()
    second = filled()
    assert all(second.has(name) for name in ("original", "Retrain", "UnlearnRec", "GIF"))
    for old, new in zip(first.finish()["results"], second.finish()["results"], strict=True):
        assert old.keys() == new.keys()
        assert all(new[key] == value or math.isnan(value) for key, value in old.items())
    assert second.arrays.keys() == first.arrays.keys()
    assert np.array_equal(second.arrays["Retrain"]["test"], first.arrays["Retrain"]["test"])


def test_rows_of_methods_not_chosen_are_left_out(filled, configure):
    filled().save()
    config = configure(forget_type="user", forget_users="u3", unlearn_methods="GIF,DropEdges")
    report = Report(config, prepare_data(config))
    assert report.has("GIF") and not report.has("DropEdges") and not report.has("Retrain")


@pytest.mark.parametrize("changes", [{"learning_rate": 0.5}, {"forget_users": "u4"}, {"unlearn_gif_iterations": 3}])
def test_rows_under_other_settings_are_not_taken_over(filled, configure, caplog, changes):
    filled().save()
    settings = {"forget_type": "user", "forget_users": "u3", "unlearn_methods": "Retrain,UnlearnRec,GIF", **changes}
    config = configure(**settings)
    assert not Report(config, prepare_data(config)).rows
    assert "so this run replaces it; --report_file keeps both" in caplog.text


@pytest.mark.parametrize("key", ["data", "versions"])
def test_rows_of_other_data_or_code_are_not_taken_over(filled, tmp_path, key):
    filled().save()
    path = tmp_path / "saved" / "LightGCN-tiny-user-7.json"
    stored = stored_json(path)
    path.write_text(json.dumps({**stored, key: "other"}))
    report = filled()
    path.write_text(json.dumps({**stored, key: "other"}))
    assert Report(report.config, prepare_data(report.config)).rows == []


def test_arrays_of_another_run_are_not_taken_over(filled, tmp_path):
    """As after a kill between the writing of the two files."""
    filled().save()
    mine, theirs = (tmp_path / "saved" / f"{name}.npz" for name in ("LightGCN-tiny-user-7", "theirs"))
    filled(report_file=str(theirs.with_suffix(".json")), forget_seed=3).save()
    kept = mine.read_bytes()
    mine.write_bytes(theirs.read_bytes())
    report = filled()
    assert [row["MI-BF"] for row in report.rows[1:3]] == [2.0, 4.0] and report.rows[0]["method"] == "original"
    assert not report.has("DropEdges") and len(report.rows) == 4
    mine.write_bytes(kept)


def test_a_ratio_and_its_interval_are_of_the_users_not_of_rounded_means():
    rows = [{"method": "Retrain", "stage": "", **metrics(0.0067, 1.0), "online_seconds": 1.0, "offline_seconds": 0.0}]
    rows.append({**rows[0], "method": "DropEdges", "ndcg@5": 0.02})
    of_users = np.repeat(np.float32([1, 0]), [100, 14_900])
    arrays = {("Retrain", ""): {**scores(), "ndcg@5": of_users}}
    arrays["DropEdges", ""] = {**scores(), "ndcg@5": 3 * of_users}
    (gap,) = Comparison(rows, arrays, np.arange(15_000)).gaps()
    assert gap["ndcg@5_ratio"] == 3
    assert (gap["ndcg@5_ratio_low"], gap["ndcg@5_ratio_high"]) == pytest.approx((3, 3))


def test_too_few_hits_for_an_interval_are_told(recwarn):
    rows = [{"method": "Retrain", "stage": "", **metrics(0.1, 1.0), "online_seconds": 1.0, "offline_seconds": 0.0}]
    rows.append({**rows[0], "method": "DropEdges"})
    arrays = {(name, ""): {**scores(), "ndcg@5": np.float32([1, 0, 0])} for name in ("Retrain", "DropEdges")}
    (gap,) = gaps = Comparison(rows, arrays, np.arange(3)).gaps()
    assert gap["ndcg@5_ratio"] == 1 and math.isnan(gap["ndcg@5_ratio_low"]) and not recwarn.list
    (said,) = remarked(rows, gaps, {})[1]["remarks"]
    assert said == "no interval of the ratio of ndcg@5: too few users have hits"


def test_break_even_is_empty_if_a_seed_never_does(filled):
    first, second = filled().finish(), filled().finish()
    second["gaps"][0]["break_even"] = None
    assert summarise([first, second])["results"][2]["break_even"]["mean"] is None


def test_broken_scores_are_replaced(filled, tmp_path):
    filled().save()
    (tmp_path / "saved" / "LightGCN-tiny-user-7.npz").write_bytes(b"PK")
    assert len(filled().rows) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_broken_report_is_replaced(filled, tmp_path, content):
    filled().save()
    (tmp_path / "saved" / "LightGCN-tiny-user-7.json").write_text(content)
    filled().save()
    assert stored_json(tmp_path / "saved" / "LightGCN-tiny-user-7.json")["results"]


def test_model_file_names_what_it_holds(configure):
    path = model_file(configure(checkpoint_dir="saved"), "UnlearnRec", "zero-shot")
    assert path == "saved/UnlearnRec-zero-shot-LightGCN-tiny-random-7.safetensors"
