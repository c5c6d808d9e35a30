"""The report: its keys, its table, its JSON and its figure."""

import json
import math

import numpy as np
import pytest

from recbole_unlearn import report
from recbole_unlearn.data.split import prepare_data
from recbole_unlearn.figure import score_distributions

KEYS = {"model", "dataset", "seed", "config", "forget", "versions", "results"}
FORGET_KEYS = {"type", "n_interactions", "n_users", "n_items", "n_skipped"}
ROW_KEYS = {"method", "stage", "ndcg@5", "MI-BF", "offline_seconds", "online_seconds", "peak_memory_mb"}
PNG = b"\x89PNG\r\n\x1a\n"


def rows():
    return [
        report.row("original", "", {"ndcg@5": 0.25, "MI-BF": float("nan")}),
        report.row("UnlearnRec", "zero-shot", {"ndcg@5": 0.125, "MI-BF": 2.5}, 12.34, 0.5678, 100.4),
    ]


def scores(n=40):
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=n).astype(np.float32) for name in ("forget", "negative", "test")}


@pytest.fixture
def composed(configure):
    config = configure(forget_type="user", forget_users="u3")
    return config, report.compose(config, prepare_data(config), rows())


def test_keys(composed):
    config, result = composed
    assert set(result) == KEYS
    assert set(result["forget"]) == FORGET_KEYS
    assert all(set(row) == ROW_KEYS for row in result["results"])
    assert (result["model"], result["dataset"], result["seed"]) == ("LightGCN", "tiny", 7)
    assert result["config"] == config.as_dict()
    assert result["forget"]["type"] == "user"
    assert (result["forget"]["n_interactions"], result["forget"]["n_users"], result["forget"]["n_items"]) == (8, 1, 8)
    assert {"python", "recbole", "torch", "numpy"} <= set(result["versions"])


def test_table_has_a_line_a_row(composed):
    lines = report.table(composed[1]).splitlines()
    assert len(lines) == 3
    assert lines[0].split() == "method stage ndcg@5 MI-BF offline s online s peak MB".split()
    assert lines[1].split() == "original 0.2500 0.0 0.000".split()
    assert lines[2].split() == "UnlearnRec zero-shot 0.1250 2.5000 12.3 0.568 100".split()


def saved_json(config, result, tmp_path, name="LightGCN-tiny-user"):
    report.save(config, result, {"original": scores()})
    assert (tmp_path / "saved" / f"{name}.png").read_bytes().startswith(PNG)
    text = (tmp_path / "saved" / f"{name}.json").read_text()
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def test_saved_json_is_the_report_with_nan_as_null(composed, tmp_path):
    config, result = composed
    stored = saved_json(config, result, tmp_path)
    assert stored["results"][0].pop("MI-BF") is None
    assert math.isnan(result["results"][0].pop("MI-BF"))
    assert stored == result


def test_infinite_metric_does_not_cost_the_report(composed, tmp_path):
    config, result = composed
    result["results"][1]["MI-BF"] = float("inf")  # the forgotten pairs' probabilities underflowed
    assert saved_json(config, result, tmp_path)["results"][1]["ndcg@5"] == 0.125


def test_report_file_is_where_the_report_goes(composed, tmp_path):
    config, result = composed
    report.save(config.replace(report_file=str(tmp_path / "new" / "mine.json")), result, {"original": scores()})
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["mine.json", "mine.png"]


def test_model_file_names_what_it_holds(configure):
    path = report.model_file(configure(checkpoint_dir="saved"), "UnlearnRec zero-shot")
    assert path == "saved/UnlearnRec-zero-shot-LightGCN-tiny-random.pth"


@pytest.mark.parametrize("n_models", [1, 3, 5])
def test_figure_is_a_png(tmp_path, n_models):
    score_distributions({f"model {n}": scores() for n in range(n_models)}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("change", [{"negative": np.empty(0)}, dict.fromkeys(("forget", "negative", "test"), np.zeros(5))])
def test_figure_of_empty_or_equal_scores(tmp_path, change):
    score_distributions({"model": {**scores(), **change}}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)
