"""A sweep's records, goal, front and report."""

import json

import pandas as pd
import pytest
import yaml
from matplotlib.image import imread

from recbole_unlearn.errors import UsageError
from recbole_unlearn.sweep.report import frame_of, pareto_front, save_sweep, show_sweep, sweep_result, table
from recbole_unlearn.sweep.simulation import simulated_requests
from recbole_unlearn.sweep.trials import Goal, Trials, record

RETRAIN = {"recall@5": 0.5, "ndcg@5": 0.4, "MI-BF": 4.0, "MI-NG": 2.0, "AUC_FN": 0.2, "AUC_FT": 0.1}
LEAST_OBJECTIVE = Goal("objective", "min")


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


@pytest.fixture
def result_of(configure):
    """The result of a sweep: ``result_of(trials, goal)``."""

    def result_of(trials, goal=LEAST_OBJECTIVE, **settings):
        requests = simulated_requests(configure(**settings), ["random", "user"])
        return sweep_result(configure(**settings), "UnlearnRec", requests, goal, trials, [RETRAIN, RETRAIN], GIVEN)

    return result_of


def test_records_survive_and_failed_ones_are_tried_again(tmp_path):
    trials = Trials(str(tmp_path / "sweep"), "asha by objective")
    trials.begin(resume=False)
    trials.begin(resume=False)
    for each in (BEST, *OTHERS):
        trials.add(each)
    (tmp_path / "sweep" / "trials" / ".123-half.json").write_text("{")
    again = Trials(str(tmp_path / "sweep"), "asha by objective")
    assert sorted(map(str, again.all())) == sorted(map(str, (BEST, *OTHERS)))
    assert sorted(map(str, again.ended())) == sorted(map(str, (BEST, *OTHERS[:-1]))), "the failed one has not"
    other_goal = Trials(str(tmp_path / "sweep"), "none by objective")
    assert len(other_goal.ended()) == 3, "stopped by another goal is not ended"
    with pytest.raises(UsageError, match="has 5 trials in .*sweep: add --resume"):
        again.begin(resume=False)
    again.begin(resume=True)
    again.add(trial(OTHERS[-1]["point"], 0.7, 0.4))
    assert len(again.all()) == len(again.ended()) == 5, "in the place of the failed record"


def test_best_is_the_best_that_came_to_its_end(result_of):
    assert result_of([*OTHERS, BEST])["trials"][0] == BEST
    assert result_of([*OTHERS, BEST], Goal("ndcg@5", "max"))["trials"][0]["result"]["ndcg@5"] == 0.41
    with pytest.raises(UsageError, match="None of 1 trials succeeded; one ended with: The loss became nan"):
        result_of(OTHERS[-1:])
    with pytest.raises(UsageError, match="None of 0 trials"):
        result_of([])


def test_goal_is_checked(configure):
    config = configure()
    assert Goal.of(config) == LEAST_OBJECTIVE == Goal.of(config, "objective")
    assert Goal.of(config, "ndcg@5", "max") == Goal("ndcg@5", "max")
    with pytest.raises(UsageError, match="Unknown metric to tune 'ndcg@10'. Did you mean 'ndcg@5'?"):
        Goal.of(config, "ndcg@10", "max")
    with pytest.raises(UsageError, match="--tune_mode=max would search for the worst gap"):
        Goal.of(config, "gap", "max")
    with pytest.raises(UsageError, match="--tune_metric=MI-BF needs --tune_mode=min or max, not nothing"):
        Goal.of(config, "MI-BF")


def test_nobody_beats_the_front():
    pairs = [(3, 9), (1, 5), (2, 5), (2, 7), (5, 9), (1, 4), (6, 8), (4, 10)]
    trials = [trial({"n": n}, gap, ndcg) for n, (gap, ndcg) in enumerate(pairs)]
    front = pareto_front(frame_of([*trials, *OTHERS[2:]]), "ndcg@5")
    assert list(zip(front["gap"], front["ndcg@5"])) == [(1, 5), (2, 7), (3, 9), (4, 10)]
    assert pareto_front(frame_of(OTHERS[2:]), "ndcg@5").empty


def test_table_shows_failed_trials_the_given_settings_and_retrain(result_of):
    header, best, failed, given, retrain = table(result_of([OTHERS[-1], BEST])).splitlines()
    assert header.split()[:6] == ["trial", "ie_rho", "ie_epochs", "status", "objective", "gap"]
    assert best.split()[:6] == ["1", "0.1", "4", "done", "0.1000", "0.1000"]
    assert failed.split() == ["2", "0.5", "8", "failed", "The", "loss", "became", "nan"]
    assert given.split()[:4] == ["as", "given", "done", "0.1500"]
    assert retrain.split()[:5] == ["Retrain", "0.0000", "0.0000", "1.0000", "0.5000"]
    assert "error" not in table(result_of([BEST]))


def test_report_writes_all_files(result_of, configure, tmp_path):
    settings = {"ie_rho": 0.7, "ie_request_ratio": [0.1, 0.2]}
    config, result = configure(**settings), result_of([*OTHERS, BEST], **settings)
    folder = tmp_path / "sweep"
    save_sweep(result, config, str(folder))
    assert json.loads((folder / "sweep.json").read_text())["held back"] == [], "before they are tried"
    result["held back"].append({"best": BEST, "as given": record({}, "failed", error="nan")})
    save_sweep(result, config, str(folder))
    show_sweep(result, str(folder))
    stored = json.loads((folder / "sweep.json").read_text())
    assert list(stored) == "model dataset seed method requests settings goal versions retrain trials".split() + [
        "as given",
        "held back",
    ]
    assert stored["trials"][0] == BEST and stored["trials"][-1]["error"] == "The loss became nan"
    assert stored["held back"] == result["held back"] and stored["as given"] == GIVEN
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
    "checks, said",
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
def test_report_says_whether_the_search_was_of_use(result_of, caplog, checks, said):
    result = result_of([*OTHERS, BEST])
    result["held back"] = [{"best": best, "as given": given} for best, given in checks]
    with caplog.at_level("INFO"):
        show_sweep(result, "folder")
    assert said in [each.getMessage() for each in caplog.records]


def test_lists_are_cells():
    frame = frame_of([record({"ie_request_ratio": [0.1, 0.2]}, "done", {"gap": 1.0})])
    assert frame["ie_request_ratio"].tolist() == ["[0.1, 0.2]"]
