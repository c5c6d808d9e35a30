"""The figures of a report: what they show, in which order, and that they are PNGs for any number of rows."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from recbole_unlearn.evaluator.comparison import Comparison, summarise
from recbole_unlearn.report import drawings, figure, gap_figure
from recbole_unlearn.report.figure import FORGOTTEN_OF_RETRAIN, limits_of, score_distributions

pytestmark = pytest.mark.draws

PNG = b"\x89PNG\r\n\x1a\n"


def scores(n=40, shift=0.0):
    generator = np.random.default_rng(0)
    sets = {name: generator.normal(size=n).astype(np.float32) + shift for name in figure.SETS}
    return {**sets, "lists": np.full((3, 5), 1000)}  # other arrays of a row are no scores


@pytest.fixture
def drawn(monkeypatch):
    """The last drawing that was saved."""
    kept = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwargs: (kept.append(self), save(self, *args, **kwargs))
    )
    return lambda: kept[-1]


def row(method, stage="", mi_bf=2.0, **more):
    numbers = {"recall@5": 0.2, "ndcg@5": 0.4, "MI-BF": mi_bf, "MI-NG": mi_bf, "AUC_FN": 0.5, "AUC_FT": 0.4}
    return {"method": method, "stage": stage, **numbers, "offline_seconds": 1.0, "online_seconds": 1.0, **more}


def report(rows, seed=7):
    forget = {"type": "random", "n_interactions": 8, "n_users": 3, "n_items": 4}
    head = {"model": "LightGCN", "dataset": "tiny", "seed": seed, "forget": forget}
    return {**head, "results": rows, "gaps": Comparison(rows).gaps(), "groups": []}


@pytest.mark.parametrize("n_models", [1, 3, 14])
def test_distributions_are_a_png(tmp_path, n_models):
    score_distributions({f"model {n}": scores() for n in range(n_models)}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "change", [{"negative": np.empty(0)}, dict.fromkeys(("forget", "negative", "test"), np.zeros(5))]
)
def test_distributions_of_empty_or_equal_scores(tmp_path, change):
    score_distributions({"model": {**scores(), **change}}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)


def test_panels_have_retrains_outline_numbers_and_a_fixed_order(tmp_path, drawn):
    rows = [row("UnlearnRec"), row("original", mi_bf=1.0), row("DropEdges"), row("Retrain", "again"), row("Retrain")]
    rows[0]["remarks"] = ["MI-BF and MI-NG say nothing: flat scores (mean |score| 0.05)"]
    arrays = {drawings.label(each): scores() for each in rows}
    drawings.draw_scores(report(rows), arrays, tmp_path / "figure.png")
    panels = [panel for panel in drawn().axes if panel.axison]
    titles = [[text.get_text() for text in panel.texts][-2:] for panel in panels]
    assert [title for title, _ in titles] == ["original", "Retrain", "Retrain again", "DropEdges", "UnlearnRec"]
    assert titles[1][1] == "MI-BF 2.00   AUC_FN 0.50   ndcg@5 0.400"
    assert titles[3][1] == "MI-BF 2.00   AUC_FN 0.50   ndcg@5 1.000 x Retrain's"
    assert titles[4][1].startswith("MI-BF 2.00 (flat)   AUC_FN")
    assert all(FORGOTTEN_OF_RETRAIN in panel.get_legend_handles_labels()[1] for panel in panels)
    assert drawn().get_suptitle().startswith("LightGCN on tiny, seed 7: 8 interactions of 3 users and 4 items")


def test_one_far_model_leaves_the_others_wide_and_is_counted_at_the_edge(tmp_path, drawn):
    of_models = {"original": scores(), "Retrain": scores(), "far": scores(shift=100.0)}
    low, high = limits_of(of_models, ("Retrain", "original"))
    assert low > -5 and high < 6
    score_distributions(of_models, tmp_path / "figure.png")
    texts = [text.get_text() for text in drawn().axes[2].texts]
    assert texts.count("40 ▸") == 3 and not any("◂" in text for text in texts)


def test_limits_are_all_models_without_named_ones():
    low, high = limits_of({"a": scores(), "b": scores(shift=100.0)}, ("Retrain",))
    assert low < 0 and high > 99


def test_gaps_of_a_run_are_multiples_of_the_floor_with_the_floors_range():
    rows = [row("Retrain", mi_bf=1.0), row("Retrain", "again", math.e), row("Retrain", "again 2", math.e**3)]
    result = report([row("original"), *rows, row("GIF", mi_bf=math.e**6)])
    gif = gap_figure.rows_of_run(result["gaps"], "ndcg@5_ratio")[-1]
    assert (gif.name, gif.ratio.value) == ("GIF", 1.0)
    gap = gif.gaps["MI-BF_gap"]
    assert (gap.value, gap.low, gap.high) == pytest.approx((3, 2, 6))
    assert gif.gaps["AUC_FN_gap"].value == 0  # no floor, as all Retrains are alike, and no gap


def test_gaps_of_seeds_have_their_intervals():
    def of_seed(seed, gap):
        rows = [row("Retrain", mi_bf=1.0), row("Retrain", "again", math.e), row("GIF", mi_bf=math.exp(gap))]
        return report([row("original"), *rows], seed)

    summary = summarise([of_seed(seed, gap) for seed, gap in enumerate((1.0, 2.0, 3.0))])
    gap = gap_figure.rows_of_seeds(summary["results"], "ndcg@5_ratio")[-1].gaps["MI-BF_gap"]
    assert (gap.value, gap.low, gap.high) == pytest.approx((2, 2 - 2.484, 2 + 2.484), abs=1e-3)
    assert gap.values == pytest.approx([1, 2, 3])


@pytest.mark.parametrize("floor_runs", [0, 1])
def test_gap_figure_has_a_band_only_with_a_floor(tmp_path, drawn, floor_runs):
    again = [row("Retrain", "again", 1.5)] * floor_runs
    result = report([row("original"), row("Retrain", mi_bf=1.0), *again, row("GIF", mi_bf=1.001)])
    drawings.draw_run(result, tmp_path / "figure.png")
    legends = drawn().axes[0].get_legend_handles_labels()[1]
    assert ("within one floor: noise" in legends) == bool(floor_runs)
    assert ("below 0.1" in legends) == bool(floor_runs)
    assert [text.get_text() for text in drawn().axes[0].get_yticklabels()] == ["Retrain again"] * floor_runs + ["GIF"]


def test_gap_figure_of_seeds_is_drawn(tmp_path):
    rows = [row("Retrain", mi_bf=1.0), row("Retrain", "again", 1.5), row("GIF")]
    drawings.draw_summary(summarise([report(rows, seed) for seed in (1, 2)]), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)


def test_audit_figure_has_a_curve_a_row_and_retrain_in_black(tmp_path, drawn):
    audited = {f"audit_{name}_{key}": 0.5 for name in ("forgotten", "retained") for key in ("auc", "tpr")}
    rates = np.linspace(0.01, 1, 20)
    arrays = {"roc_forgotten": np.stack([rates, rates]), "roc_retained": np.stack([rates, np.sqrt(rates)])}
    result = report([row(name, **audited) for name in ("original", "Retrain", "GIF")])
    drawings.draw_attack(result, {name: arrays for name in ("original", "Retrain", "GIF")}, tmp_path / "figure.png")
    for panel in drawn().axes:
        lines = {line.get_label(): line.get_color() for line in panel.lines if ":" in line.get_label()}
        assert lines.keys() == {f"{name}: 0.500, 0.500" for name in ("original", "Retrain", "GIF")}
        assert len(set(lines.values())) == 3 and lines["Retrain: 0.500, 0.500"] == "black"
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")


def test_gaps_are_drawn_without_a_ranking_metric(tmp_path):
    rows = [{key: value for key, value in row(name).items() if "@" not in key} for name in ("Retrain", "GIF")]
    drawings.draw_run(report(rows), tmp_path / "run.png")
    drawings.draw_summary(summarise([report(rows, seed) for seed in (1, 2)]), tmp_path / "seeds.png")
    drawings.draw_scores(report(rows), {"Retrain": scores(), "GIF": scores()}, tmp_path / "scores.png")
    assert len(list(tmp_path.glob("*.png"))) == 3
