"""The common report of several seeds: means, intervals, values, the table, and what Python's run_seeds refuses."""

import math
import re

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.comparison import Comparison, summarise, t_interval
from recbole_unlearn.quick_start import run_seeds
from recbole_unlearn.report.summary import summary_table


def row(method, stage, ndcg, mi_bf, seconds=1.0, mi_ng=1.0):
    numbers = {"ndcg@5": ndcg, "MI-BF": mi_bf, "MI-NG": mi_ng, "AUC_FN": 0.5, "AUC_FT": 0.4}
    return {"method": method, "stage": stage, **numbers, "offline_seconds": 2.0, "online_seconds": seconds}


def report(seed, again, row_of_method):
    """A report with a floor of ``|ln again|`` and one method's row."""
    rows = [row("original", "", 0.5, 1.0), row("Retrain", "", 0.4, 1.0, 9.0), row("Retrain", "again", 0.4, again, 9.0)]
    rows.append(row_of_method)
    head = {"model": "LightGCN", "dataset": "tiny", "seed": seed, "forget": {"type": "random"}}
    return {**head, "results": rows, "gaps": Comparison(rows).gaps()}


@pytest.fixture
def reports():
    ndcgs, agains, mi_bfs = (0.2, 0.3, 0.4), (math.e, math.e**1e-6, math.e**2), (math.e**3, math.e**4, math.e**5)
    return [
        report(seed, *of) for seed, of in enumerate(zip(agains, (row("GIF", "", *of) for of in zip(ndcgs, mi_bfs))))
    ]


def of(summary, method, stage=""):
    return next(each for each in summary["results"] if (each["method"], each["stage"]) == (method, stage))


@pytest.mark.parametrize("n", [2, 3, 12])
def test_t_interval_is_that_of_scipys_t_test(n):
    values = np.random.default_rng(n).normal(3, 2, n)
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    assert t_interval(values, 0.9) == pytest.approx((expected.low, expected.high))


def test_means_intervals_and_values(reports):
    gif = of(summarise(reports), "GIF")
    low, high = t_interval(np.array([0.2, 0.3, 0.4]))
    assert gif["n"] == 3
    assert gif["ndcg@5"] == {
        "mean": pytest.approx(0.3),
        "sd": pytest.approx(0.1),
        "low": pytest.approx(low),
        "high": pytest.approx(high),
        "values": [0.2, 0.3, 0.4],
    }
    assert summarise(reports)["seeds"] == [0, 1, 2]


def test_gaps_are_multiples_of_the_mean_floor(reports):
    summary = summarise(reports)
    floor = (1 + 1e-6 + 2) / 3  # the second seed's own would make its gap four million floors
    assert of(summary, "GIF")["MI-BF_gap_floors"]["values"] == pytest.approx([3 / floor, 4 / floor, 5 / floor])
    assert of(summary, "Retrain", "again")["MI-BF_gap_floors"]["mean"] == pytest.approx(1)
    assert of(summary, "GIF")["MI-NG_gap_floors"]["mean"] == 0  # no floor, as both Retrains are alike, and no gap


def test_more_seeds_have_no_single_values(reports):
    four = [*reports, {**reports[0], "seed": 3}]
    assert set(of(summarise(four), "GIF")["ndcg@5"]) == {"mean", "sd", "low", "high"}
    assert "seed 3" not in summary_table(summarise(four))


def test_one_seed_has_no_interval(reports):
    summary = summarise(reports[:1])
    assert of(summary, "GIF")["ndcg@5"] == {"mean": 0.2, "sd": None, "low": None, "high": None, "values": [0.2]}
    assert "+-" not in summary_table(summary).partition("\n")[2]


def test_a_seed_without_a_result_is_left_out(reports):
    reports[1]["results"][-1] = {"method": "GIF", "stage": "", "offline_seconds": 2.0, "online_seconds": None}
    reports[1]["gaps"].pop()
    summary = summarise(reports)
    assert of(summary, "GIF")["n"] == 2 and of(summary, "GIF")["ndcg@5"]["values"] == [0.2, None, 0.4]
    lines = [line.split() for line in summary_table(summary).splitlines()]
    start = next(place for place, line in enumerate(lines) if line[:2] == ["GIF", "mean"])
    assert [line[:3] for line in lines[start + 2 : start + 5]] == [
        ["seed", "0", "0.2000"],
        ["seed", "1"],
        ["seed", "2", "0.4000"],
    ]


def test_break_even_is_empty_if_a_seed_never_does(reports):
    reports[1]["gaps"][-1]["break_even"] = None
    assert of(summarise(reports), "GIF")["break_even"]["mean"] is None


def test_table_has_means_intervals_and_seeds_in_150_columns(reports):
    text = summary_table(summarise(reports))
    assert max(map(len, text.splitlines())) <= 150
    lines = [line.split() for line in text.splitlines()]
    start = next(place for place, line in enumerate(lines) if line[:2] == ["GIF", "mean"])
    half = t_interval(np.array([0.2, 0.3, 0.4]))[1] - 0.3
    assert lines[start][2] == "0.3000" and lines[start + 1][:2] == ["+-", f"{half:.4f}"]
    assert [line[:3] for line in lines[start + 2 : start + 5]] == [
        ["seed", str(seed), f"{ndcg:.4f}"] for seed, ndcg in enumerate((0.2, 0.3, 0.4))
    ]
    assert re.search(r"GIF +mean +4\.000 \(4\.0x\)", text)


@pytest.mark.parametrize(
    ("seeds", "changes", "message"),
    [
        ([1, 2], {"seed": 3}, "`seeds` takes the place of `seed`"),
        ([], {}, "must be different whole numbers"),
        ([1, 1], {}, "must be different whole numbers"),
        ([1, "2"], {}, "must be different whole numbers"),
        ([1, -2], {}, "must be different whole numbers"),
    ],
)
def test_run_seeds_refuses_as_the_command_line_does(settings, seeds, changes, message):
    settings.pop("seed")
    with pytest.raises(UsageError, match=message):
        run_seeds(seeds, "LightGCN", "tiny", config_dict={**settings, **changes})
