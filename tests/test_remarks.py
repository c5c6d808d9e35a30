"""What a report says of its rows by itself, its notebook form, and how far a run is."""

import math

import numpy as np
import pandas as pd
import pytest

from recbole_unlearn import progress as progress_module
from recbole_unlearn.progress import Progress
from recbole_unlearn.report.remarks import remarked, without_remarks
from recbole_unlearn.report.result import Result
from recbole_unlearn.report.tables import gap_table, ranking_table

GAPS = ("MI-BF_gap", "MI-NG_gap", "AUC_FN_gap", "AUC_FT_gap")


def gap(method, values, stage="", **more):
    cost = {"recall@20_ratio": 0.9, "ndcg@20_ratio": 0.9, "speed_up": 10.0, "break_even": None}
    return {"method": method, "stage": stage, **dict(zip(GAPS, values)), **cost, **more}


def remarks_of(method, gaps=(), details=None, forgotten=(5.0, -5.0)):
    row = {"method": method, "stage": "", **({"details": details} if details else {})}
    return remarked([row], gaps, {(method, ""): {"forget": np.array(forgotten)}})[0].get("remarks", [])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((3, 3, 3, 0), True),
        ((3, 3, 0, 0), False),  # half is not most
        ((3, 3, math.nan, math.nan), True),
        ((math.nan,) * 4, False),
    ],
)
def test_a_row_farther_than_doing_nothing_says_so(values, said):
    gaps = [gap("GIF", values), gap("DropEdges", (2, 2, 2, 2)), gap("Retrain", (1, 1, 1, 1), "again")]
    assert ("ends farther from Retrain than doing nothing (DropEdges)" in remarks_of("GIF", gaps)) == said
    assert not remarks_of("DropEdges", gaps)


def test_within_the_floor_nothing_is_farther_than_doing_nothing():
    gaps = [gap("GIF", (3, 3, 3, 3)), gap("DropEdges", (2, 2, 2, 2)), gap("Retrain", (4, 4, 4, 4), "again")]
    assert not remarks_of("GIF", gaps)


@pytest.mark.parametrize(("residual", "said"), [("0.50", True), ("0.49", False), ("small", False)])
def test_an_unsolved_row_says_so(residual, said):
    assert bool(remarks_of("GIF", details={"residual": residual})) == said


def test_flat_scores_say_so():
    assert remarks_of("GIF", forgotten=(0.05, -0.05)) == [
        "MI-BF and MI-NG say nothing: flat scores (mean |score| 0.05)"
    ]
    assert not remarks_of("GIF", forgotten=(0.15, -0.15)) and not remarks_of("GIF", forgotten=())


def test_remarks_are_made_anew_from_a_stored_row():
    row = {"method": "GIF", "stage": "", "remarks": ["old"]}
    assert without_remarks(row) == {"method": "GIF", "stage": ""}


def test_tables_of_gaps_fit_150_columns():
    floors = {f"{key}_floors": 123.4 for key in GAPS}
    interval = {f"{m}@20_ratio_{end}": 0.9 for m in ("recall", "ndcg") for end in ("low", "high")}
    gaps = [
        gap("GraphEraser", (1, 2, 3, 4), "fine-tuned", over_forgotten=0.5, under_forgotten=0.1, **floors, **interval)
    ]
    for frame in (gap_table(gaps), ranking_table(gaps)):
        assert max(map(len, frame.to_string(index=False).splitlines())) <= 110
    assert gap_table(gaps)["|ln MI-BF|"][0] == "1.000 (123x)"
    assert (
        ranking_table(gaps)["ndcg@20 ratio"][0] == "0.900 [0.900, 0.900]" and ranking_table(gaps)["break-even"][0] == ""
    )


@pytest.fixture
def result():
    rows = [{"method": name, "stage": "", "ndcg@20": 0.3, "MI-BF": 1.0} for name in ("original", "Retrain", "GIF")]
    rows[2] |= {"details": {"residual": "0.70"}, "remarks": ["a < b"]}
    forget = {"type": "random", "n_interactions": 8, "n_users": 3, "n_items": 4}
    head = {"model": "LightGCN", "dataset": "<tiny>", "seed": 7, "forget": forget}
    return Result({**head, "results": rows, "gaps": [gap("GIF", (1, 2, 3, 4))], "groups": []})


def test_frame_has_a_row_a_stage_and_its_gaps(result):
    frame = result.to_frame()
    assert frame.index.names == ["method", "stage"] and list(frame.index)[2] == ("GIF", "")
    assert frame.loc[("GIF", ""), "AUC_FT_gap"] == 4 and pd.isna(frame.loc[("Retrain", ""), "AUC_FT_gap"])
    assert set(frame.dtypes) == {np.dtype(float)} and "details" not in frame and "remarks" not in frame


def test_frame_without_retrain_has_the_rows(result):
    assert list(Result({**result, "gaps": []}).to_frame().columns) == ["ndcg@20", "MI-BF"]


def test_notebook_shows_all_tables_and_escapes_names(result):
    html = result._repr_html_()
    assert html.count("<table") == 3 and "LightGCN on &lt;tiny&gt;, seed 7: 8 interactions" in html
    assert "<li>GIF: residual 0.70; a &lt; b</li>" in html and "NaN" not in html


def test_text_has_the_remarks_below_the_rows(result):
    lines = str(result).splitlines()
    assert lines[0].startswith("LightGCN on <tiny>, seed 7") and lines[5] == "GIF: residual 0.70; a < b"
    assert lines[6] == "Forgetting against Retrain: gap"


def test_progress_counts_what_is_known_and_what_it_saw(monkeypatch):
    times = iter([0.0, 100.0, 110.0, 130.0])
    monkeypatch.setattr(progress_module, "perf_counter", lambda: next(times))
    progress = Progress(["Retrain", "GIF", "SISA", "DropEdges"], {"Retrain": 120.0})
    assert progress.begin("Retrain") == "step 1 of 4, at least 2 min left"
    assert progress.begin("GIF") == "step 2 of 4"  # nothing is known of the others
    assert progress.begin("SISA") == "step 3 of 4, about 20 s left"  # 10 s each
    assert progress.begin("DropEdges") == "step 4 of 4, about 15 s left"  # the mean of 10 and 20


def test_progress_of_retrain_alone_is_an_estimate():
    assert Progress(["Retrain"], {"Retrain": 40.0}).begin("Retrain") == "step 1 of 1, about 40 s left"
