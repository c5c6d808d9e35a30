"""What a sweep measures on: simulated requests and validation data."""

import math
import os

import pytest
import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data import attack
from recbole_unlearn.errors import Diverged, UsageError
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.quick_start import objective_function, run_unlearn
from recbole_unlearn.sweep.simulation import (
    PARTS,
    Simulation,
    assess,
    measure,
    measure_all,
    simulated_data,
    simulated_requests,
    train_part,
)
from recbole_unlearn.task import prepare_data

PRETRAINED = {"ie_target": "negative", "ie_epochs": 2}


@pytest.fixture(scope="module")
def shared_models(tmp_path_factory):
    return str(tmp_path_factory.mktemp("shared") / "saved")


@pytest.fixture
def simulate(configure, shared_models):
    """What the trials on a simulated request share; its models are trained once in this file."""

    def simulate(method="UnlearnRec", kind="random", checkpoint_dir=shared_models):
        config = configure(checkpoint_dir=checkpoint_dir)
        ((settings,), (data,)) = simulated_data(config, method, simulated_requests(config, [kind]))
        config = Config(stored=settings)
        return Simulation.of(settings, data, *(train_part(config, data, part) for part in PARTS))

    return simulate


def pairs(side):
    return set(zip(side.users.tolist(), side.items.tolist()))


@pytest.mark.parametrize("kind", ["adversarial", "random", "user", "item", "spam", "file"])
def test_the_simulated_request_is_another_one(here, kind):
    named = {"user": {"forget_users": ["u1", "u2"]}, "file": {"forget_file": "request.inter"}}.get(kind, {})
    config = Config("LightGCN", "tiny", config_dict={**here, "forget_type": kind, **named})
    (default,) = simulated_requests(config)
    assert default["forget_type"] == ("random" if kind == "file" else kind)
    drawn = []
    for round_ in (1, 2):
        requests = simulated_requests(config, [default["forget_type"]] * 2, round_)
        settings, data = simulated_data(config, "UnlearnRec", requests)
        assert all(os.path.isabs(each["data_path"]) and os.path.isabs(each["checkpoint_dir"]) for each in settings)
        drawn += [pairs(each.request) for each in data]
    if kind != "file":
        drawn.append(pairs(prepare_data(config).request))
    assert len({frozenset(request) for request in drawn}) == len(drawn)


def test_a_kind_that_is_none(configure):
    with pytest.raises(UsageError, match="Unknown kind of request to simulate 'users'. Did you mean 'user'?"):
        simulated_requests(configure(), ["random", "users"])


def test_a_simulated_attack_does_not_look_at_test_pairs(configure, monkeypatch):
    seen = []
    draw = attack.least_likely_edges

    def watched(final, observed, *others):
        seen.append(observed)
        return draw(final, observed, *others)

    monkeypatch.setattr(attack, "least_likely_edges", watched)
    actual = prepare_data(configure(forget_type="adversarial"))
    simulated = prepare_data(configure(forget_type="adversarial", unlearn_measure_on="valid"))
    assert pairs(actual.test) <= pairs(seen[0])
    clean = pairs(simulated.graph) - pairs(simulated.request)
    assert pairs(seen[1]) == clean | pairs(actual.valid)


def test_half_of_validation_stands_in_for_test_data(configure):
    actual = prepare_data(configure())
    simulated = prepare_data(configure(unlearn_measure_on="valid"))
    halves = pairs(simulated.valid), pairs(simulated.test)
    assert halves[0] | halves[1] == pairs(actual.valid) and not halves[0] & halves[1]
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    assert not halves[1] & pairs(actual.test)
    assert pairs(simulated.graph) == pairs(actual.graph)

    users = simulated.test_data.uid_list.tolist()
    assert set(users) == {user for user, _ in halves[1]}
    positives = {(user, item) for user in users for item in simulated.test_data.uid2positive_item[user].tolist()}
    assert positives == halves[1]
    hidden = {(user, item) for user in users for item in simulated.test_data.uid2history_item[user].tolist()}
    assert hidden == {(user, item) for user, item in pairs(actual.graph) | halves[0] if user in users}


def test_the_original_is_shared_with_the_actual_run(configure, simulate):
    config = configure()
    state = train_part(config, prepare_data(config), "original")
    before = set(os.listdir(config["checkpoint_dir"]))
    simulation = simulate(checkpoint_dir=config["checkpoint_dir"])
    assert all(torch.equal(state[name], simulation.original[name]) for name in state)
    new = set(os.listdir(config["checkpoint_dir"])) - before
    assert {name.split("-")[0] for name in new} == {"retrain"}, "only Retrain is of another request"


def test_the_objective_is_its_formula(configure):
    retrain = {"ndcg@5": 0.5, "MI-BF": 4.0, "MI-NG": 2.0, "AUC_FN": 0.2, "AUC_FT": 0.1}
    config = configure(unlearn_least_utility=0.9)
    metrics = {"ndcg@5": 0.45, "MI-BF": 2.0, "MI-NG": 2.0, "AUC_FN": 0.3, "AUC_FT": 0.05}
    gap = (math.log(2) + 0.1 + 0.05) / 4
    assert assess(metrics, retrain, config) == pytest.approx({"objective": gap, "gap": gap, "utility": 0.9})
    below = assess({**metrics, "ndcg@5": 0.44}, retrain, config)
    assert below == pytest.approx({"objective": gap + 100 * 0.02, "gap": gap, "utility": 0.88})
    assert assess(retrain, retrain, config)["objective"] == 0
    above = assess({**retrain, "ndcg@5": 0.9}, retrain, config)
    assert above["objective"] == 0, "a better ranking is no reason to forget worse"
    with pytest.raises(Diverged, match="objective became nan"):
        assess({**metrics, "MI-BF": float("nan")}, retrain, config)


def test_every_epoch_of_the_preparation_is_reported_and_changes_nothing(simulate, settings, configure):
    simulation, reports = simulate(), []
    watched = measure(simulation, PRETRAINED, reports.append)
    assert [(report["epoch"], report["stage"]) for report in reports] == [(1, "zero-shot"), (2, "zero-shot")]
    assert len({report["MI-BF"] for report in reports}) == 2, "of that epoch's encoder"
    assert watched["stage"] == "fine-tuned" and "epoch" not in watched
    assert all(math.isfinite(value) for value in watched.values() if isinstance(value, float))

    request = simulated_requests(configure(), ["random"])[0]
    report = run_unlearn("LightGCN", "tiny", config_dict={**settings, **PRETRAINED, **request})
    (row,) = [row for row in report["results"] if row["stage"] == "fine-tuned"]
    for name in ("recall@5", "ndcg@5", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT"):
        assert row[name] == pytest.approx(watched[name], rel=1e-5), "an ordinary run with these settings says the same"


def test_any_method_can_be_measured(simulate):
    simulation = simulate(method="IFRU")
    weak, strong = (measure(simulation, {"unlearn_ifru_damping": damping}) for damping in (1e6, 0.3))
    assert weak["stage"] == strong["stage"] == "" and weak["MI-BF"] != strong["MI-BF"]


def test_several_requests_are_averaged(simulate):
    simulations = [simulate(kind=kind) for kind in ("random", "user")]
    point, reports = {**PRETRAINED, "ie_rho": 0.2}, []  # another encoder than in other tests
    result = measure_all(iter(simulations), point, reports.append)
    assert [report["epoch"] for report in reports] == [1, 2], "of the first one"
    alone = [measure(simulation, point) for simulation in simulations]
    for name in ("objective", "gap", "utility", "ndcg@5", "MI-BF"):
        assert result[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2, rel=1e-5)
        assert [each[name] for each in result["requests"]] == pytest.approx([each[name] for each in alone], rel=1e-5)


def test_without_fine_tuning_the_zero_shot_result_counts(simulate):
    assert measure(simulate(), {"unlearn_finetune_epochs": 0})["stage"] == "zero-shot"


def test_refuses_a_retrain_of_no_use(simulate, monkeypatch):
    simulation = simulate()
    monkeypatch.setattr(UnlearningEvaluator, "evaluate", lambda self, model: ({"ndcg@5": 0.0}, {}))
    with pytest.raises(UsageError, match="Retrain's NDCG@5 on validation data is 0; train for more"):
        Simulation.of(simulation.settings, simulation.data, simulation.original, simulation.original)


def test_recboles_own_tuning_takes_the_objective(settings, tmp_path, monkeypatch):
    pytest.importorskip("hyperopt")
    from recbole.trainer import HyperTuning

    monkeypatch.setattr("sys.argv", ["run_hyper.py"])
    base = tmp_path / "base.yaml"
    named = {**settings, "model": "LightGCN", "dataset": "tiny"}
    base.write_text("\n".join(f"{key}: {value!r}" for key, value in named.items()))
    space = tmp_path / "hyper.test"
    space.write_text("ie_change_weight choice [0.1,1.0]  # nu\nunlearn_finetune_epochs quniform 0,2,1\n")
    files = [str(base)]
    tuning = HyperTuning(
        objective_function, params_file=space, fixed_config_file_list=files, algo="random", max_evals=2
    )
    tuning.run()
    tuning.export_result(tmp_path / "out.txt")
    assert len(tuning.params2result) >= 1 and math.isfinite(tuning.best_score)
    assert all(result["test_result"] == {} for result in tuning.params2result.values())
    assert len([name for name in os.listdir(settings["checkpoint_dir"]) if name.startswith("original-")]) == 1
