"""A sweep's records, goal, front and report."""

import json

import pandas as pd
import pytest
import yaml
from matplotlib.image import imread

from recbole_unlearn.errors import UsageError
from recbole_unlearn.sweep.report import SweepReport, frame_of, table
from recbole_unlearn.sweep.trials import Goal, Trials, best_of, pareto_front, record

RETRAIN = {"recall@5": 0.5, "ndcg@5": 0.4, "MI-BF": 4.0, "MI-NG": 2.0, "AUC_FN": 0.2, "AUC_FT": 0.1}


def trial(point, gap, ndcg, status="done"):
    result = {"stage": "fine-tuned", "objective": gap, "gap": gap, "utility": ndcg / 0.4}
    why = {"by": "asha by objective"} if status == "stopped" else {}
    return record(point, status, {**result, **RETRAIN, "ndcg@5": ndcg, "online_seconds": 0.5, "seconds": 2.0}, **why)


BEST = trial({"ie_rho": 0.1, "ie_epochs": 4}, 0.1, 0.39)
OTHERS = [
    trial({"ie_rho": 0.2, "ie_epochs": 4}, 0.2, 0.41),
    trial({"ie_rho": 0.3, "ie_epochs": 8}, 0.3, 0.40),
    trial({"ie_rho": 0.4, "ie_epochs": 8}, 0.05, 0.42, status="stopped"),
    record({"ie_rho": 0.5, "ie_epochs": 8}, "failed", error="The loss became nan"),
]
GIVEN = trial({}, 0.15, 0.38)


def test_records_survive_and_failed_ones_are_tried_again(tmp_path):
    trials = Trials(str(tmp_path / "sweep"), "asha by objective")
    trials.begin(resume=False)
    trials.begin(resume=False)
    for each in (BEST, *OTHERS):
        trials.add(each)
    (tmp_path / "sweep" / "trials" / ".123-half.json").write_text("{")
    again = Trials(str(tmp_path / "sweep"), "asha by objective")
    assert sorted(map(str, again.all())) == sorted(map(str, (BEST, *OTHERS)))
    points = [each["point"] for each in (BEST, *OTHERS)] + [{"ie_rho": 0.9, "ie_epochs": 1}]
    assert again.without_ended(points) == points[-2:], "the failed one and the new one"
    assert len(Trials(str(tmp_path / "sweep"), "none by objective").ended()) == 3, (
        "stopped by another goal is not ended"
    )
    with pytest.raises(UsageError, match="has 5 trials in .*sweep: add --resume"):
        again.begin(resume=False)
    again.begin(resume=True)
    again.add(trial(OTHERS[-1]["point"], 0.7, 0.4))
    assert len(again.all()) == len(again.ended()) == 5, "in the place of the failed record"


def test_best_is_the_best_that_came_to_its_end(configure):
    trials = [*OTHERS, BEST]
    assert best_of(trials, Goal("objective", "min")) == BEST
    assert best_of(trials, Goal("ndcg@5", "max"))["result"]["ndcg@5"] == 0.41
    with pytest.raises(UsageError, match="None of 1 trials succeeded; one ended with: The loss became nan"):
        best_of(OTHERS[-1:], Goal("objective", "min"))
    with pytest.raises(UsageError, match="None of 0 trials"):
        best_of([], Goal("objective", "min"))


def test_goal_is_checked(configure):
    config = configure()
    assert Goal.of(config) == Goal("objective", "min") == Goal.of(config, "objective")
    assert Goal.of(config, "ndcg@5", "max") == Goal("ndcg@5", "max")
    with pytest.raises(UsageError, match="Unknown metric to tune 'ndcg@10'. Did you mean 'ndcg@5'?"):
        Goal.of(config, "ndcg@10", "max")
    with pytest.raises(UsageError, match="--tune_mode=max would search for the worst gap"):
        Goal.of(config, "gap", "max")
    with pytest.raises(UsageError, match="--tune_metric=MI-BF needs --tune_mode=min or max, not nothing"):
        Goal.of(config, "MI-BF")


def test_nobody_beats_the_front():
    trials = [
        trial({"n": n}, gap, ndcg)
        for n, (gap, ndcg) in enumerate([(3, 9), (1, 5), (2, 5), (2, 7), (5, 9), (1, 4), (6, 8), (4, 10)])
    ]
    front = [
        (each["result"]["gap"], each["result"]["ndcg@5"]) for each in pareto_front([*trials, *OTHERS[2:]], "ndcg@5")
    ]
    assert front == [(1, 5), (2, 7), (3, 9), (4, 10)]
    assert pareto_front(OTHERS[2:], "ndcg@5") == []


def test_table_shows_failed_trials_the_given_settings_and_retrain():
    header, best, failed, given, retrain = table([BEST, OTHERS[-1], GIVEN], RETRAIN).splitlines()
    assert header.split()[:6] == ["trial", "ie_rho", "ie_epochs", "status", "objective", "gap"]
    assert best.split()[:6] == ["1", "0.1", "4", "done", "0.1000", "0.1000"]
    assert failed.split() == ["2", "0.5", "8", "failed", "The", "loss", "became", "nan"]
    assert given.split()[:4] == ["as", "given", "done", "0.1500"]
    assert retrain.split()[:5] == ["Retrain", "0.0000", "0.0000", "1.0000", "0.5000"]
    assert "error" not in table([BEST])


def test_report_writes_all_files(configure, tmp_path):
    config = configure(ie_rho=0.7, ie_request_ratio=[0.1, 0.2])
    checks = [{"best": BEST, "as given": record({}, "failed", error="nan")}]
    report = SweepReport(
        config, "UnlearnRec", ["random", "user"], Goal("objective", "min"), [*OTHERS, BEST], [RETRAIN, RETRAIN], GIVEN
    )
    folder = tmp_path / "sweep"
    report.save(str(folder))
    assert json.loads((folder / "sweep.json").read_text())["held back"] == [], (
        "written before the held-back requests are tried"
    )
    report.add_check(BEST, checks[0]["as given"])
    report.save(str(folder))
    report.show(str(folder))
    stored = json.loads((folder / "sweep.json").read_text())
    assert stored["trials"][0] == BEST and stored["trials"][-1]["error"] == "The loss became nan"
    assert stored["held back"] == checks and stored["as given"] == GIVEN
    assert pd.read_csv(folder / "trials.csv")["trial"].tolist() == ["1", "2", "3", "4", "5", "as given"]
    front = pd.read_csv(folder / "pareto.csv")
    assert front["gap"].tolist() == [0.1, 0.2] and front["trial"].tolist() == [1, 2]
    assert imread(folder / "pareto.png").shape[2] == 4
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert (best["ie_rho"], best["ie_epochs"], best["model"], best["dataset"]) == (0.1, 4, "LightGCN", "tiny")
    assert best["ie_request_ratio"] == [0.1, 0.2]
    requests = {path.name: yaml.safe_load(path.read_text()) for path in folder.glob("*-*.yaml")}
    assert {name: (request["forget_type"], request["forget_seed"]) for name, request in requests.items()} == {
        "simulated-1.yaml": ("random", 1_000_007),
        "simulated-2.yaml": ("user", 1_000_007),
        "held-back-1-1.yaml": ("random", 2_000_007),
        "held-back-1-2.yaml": ("user", 2_000_007),
    }


@pytest.mark.parametrize(
    "checks, told",
    [
        ([], "On the same requests the best trial beats the settings as given 1 of 1 times"),
        (
            [(BEST, GIVEN), (GIVEN, BEST)],
            "On held-back requests the best trial beats the settings as given 1 of 2 times",
        ),
        (
            [(GIVEN, BEST)],
            "On held-back requests the best trial beats the settings as given 0 of 1 times: keep those given",
        ),
    ],
)
def test_report_says_whether_the_search_was_of_use(configure, caplog, checks, told):
    report = SweepReport(
        configure(), "UnlearnRec", ["random"], Goal("objective", "min"), [*OTHERS, BEST], [RETRAIN], GIVEN
    )
    for best, given in checks:
        report.add_check(best, given)
    with caplog.at_level("INFO"):
        report.show("folder")
    assert told in [record.getMessage() for record in caplog.records]


def test_lists_are_cells():
    assert frame_of([record({"ie_request_ratio": [0.1, 0.2]}, "done", {"gap": 1.0})])["ie_request_ratio"].tolist() == [
        "[0.1, 0.2]"
    ]
