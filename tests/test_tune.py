"""The sweep: its file, its points, and a small one from end to end."""

import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_unlearn.command_line import parse
from recbole_unlearn.config import Config
from recbole_unlearn.data.split import prepare_data
from recbole_unlearn.errors import UsageError
from recbole_unlearn.space import Values, points_of, read_space
from recbole_unlearn.tune import METHOD, objective, prepare, run_sweep, simulation, table

SHIPPED = Path(__file__).parents[1] / "hyper.test"


@pytest.fixture
def space_file(tmp_path):
    def write(text):
        path = tmp_path / "hyper.test"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def here(settings):
    """Settings with paths that mean something in this working directory only."""
    return {**settings, "data_path": os.path.relpath(settings["data_path"]), "checkpoint_dir": "saved"}


def test_reads_each_kind(space_file):
    path = space_file(
        "# the influence encoder\n"
        "ie_unlearning_weight choice [1, 0.5,0.1]  # lambda_u\n\n"
        "ie_learning_rate loguniform -8,0\n"
        "ie_rho uniform 0, 0.5\n"
        "ie_epochs quniform 2,10,2\n"
    )
    assert read_space(path, METHOD) == {
        "ie_unlearning_weight": Values("choice", (1, 0.5, 0.1)),
        "ie_learning_rate": Values("loguniform", (-8, 0)),
        "ie_rho": Values("uniform", (0, 0.5)),
        "ie_epochs": Values("quniform", (2, 10, 2), whole=True),
    }


@pytest.mark.parametrize(
    "line, message",
    [
        ("ie_rho choice", "Expected `SETTING KIND VALUES`"),
        ("ie_unlearning_wieght choice [1]", "Did you mean 'ie_unlearning_weight'?"),
        ("learning_rate choice [0.1]", "Did you mean 'ie_learning_rate'?"),
        ("ie_rho logunifrom -8,0", "Did you mean 'loguniform'?"),
        ("ie_rho choice []", "takes [A,B,...]"),
        ("ie_rho choice 0.1,0.2", "takes [A,B,...]"),
        ("ie_rho choice ['a']", "takes [A,B,...]"),
        ("ie_epochs choice [2.5]", "takes [A,B,...]"),
        ("ie_rho choice [__import__('os')]", "takes [A,B,...]"),
        ("ie_rho uniform 0.5,0.1", "takes LOW,HIGH"),
        ("ie_rho uniform 0,1,2", "takes LOW,HIGH"),
        ("ie_rho quniform 0,1,0", "takes LOW,HIGH,STEP"),
        ("ie_request_ratio uniform 0,1", "takes LOW,HIGH"),
    ],
)
def test_names_a_bad_line(space_file, line, message):
    path = space_file(f"ie_contrast_weight choice [0.001]\n{line}\n")
    with pytest.raises(UsageError) as error:
        read_space(path, METHOD)
    assert message in str(error.value)
    assert f"{path}, line 2: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_refuses_an_empty_file(space_file, text):
    with pytest.raises(UsageError, match="has no line"):
        read_space(space_file(text), METHOD)


def test_refuses_a_setting_twice(space_file):
    with pytest.raises(UsageError, match="line 2: 'ie_rho' is there twice"):
        read_space(space_file("ie_rho choice [1]\nie_rho choice [2]\n"), METHOD)


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_space(tmp_path / "absent.test", METHOD)


def test_choices_alone_are_all_tried():
    space = {"ie_rho": Values("choice", (0.1, 0.2)), "ie_epochs": Values("choice", (1, 2, 3))}
    points = points_of(space, n_trials=1, seed=0)
    assert len(points) == 6
    assert all(set(point) == set(space) for point in points)
    assert len({tuple(point.values()) for point in points}) == 6


def test_draws_lie_in_their_range_and_repeat():
    space = {
        "a": Values("loguniform", (-8, 0)),
        "b": Values("quniform", (0, 1, 0.25)),
        "c": Values("quniform", (2, 10, 2), whole=True),
        "d": Values("uniform", (0.5, 1)),
        "e": Values("choice", ("x", "y")),
    }
    points = points_of(space, n_trials=200, seed=1)
    assert points == points_of(space, n_trials=200, seed=1) != points_of(space, n_trials=200, seed=2)
    assert all(math.exp(-8) <= point["a"] <= 1 for point in points)
    assert np.median([point["a"] for point in points]) == pytest.approx(math.exp(-4), rel=0.5)
    assert {point["b"] for point in points} == {0, 0.25, 0.5, 0.75, 1}
    assert {point["c"] for point in points} == {2, 4, 6, 8, 10}
    assert all(isinstance(point["c"], int) for point in points)
    assert all(0.5 <= point["d"] <= 1 for point in points)
    assert {point["e"] for point in points} == {"x", "y"}
    with pytest.raises(UsageError, match="at least 1 trial"):
        points_of(space, n_trials=0, seed=1)


def test_shipped_space_is_accepted():
    space = read_space(SHIPPED, METHOD)
    assert set(space) == {"ie_unlearning_weight", "ie_preserving_weight", "ie_contrast_weight"}
    for point in points_of(space, n_trials=1, seed=0):
        Config("LightGCN", "ml-100k", config_dict=point)


@pytest.mark.parametrize("kind", ["adversarial", "random", "user", "item", "file"])
def test_simulation_is_another_request_and_sees_no_test_data(here, kind):
    named = {"user": {"forget_users": ["u1", "u2"]}, "file": {"forget_file": "request.inter"}}.get(kind, {})
    config = Config("LightGCN", "tiny", config_dict={**here, "forget_type": kind, **named})
    simulated = Config(config_dict=simulation(config))
    assert Path(simulated["checkpoint_dir"]).is_absolute() and Path(simulated["data_path"]).is_absolute()
    data, _, evaluator, _ = prepare(simulated)
    assert data.test is data.valid and data.test_data is data.valid_data
    assert evaluator.test_data is data.valid_data
    if kind != "file":
        actual = prepare_data(config).request
        actual, drawn = (set(zip(r.users.tolist(), r.items.tolist())) for r in (actual, data.request))
        assert actual != drawn


def test_sweep_end_to_end(here, space_file):
    result = run_sweep("LightGCN", "tiny", None, here, space_file("ie_unlearning_weight choice [1,0.1]\n"))

    trials = result["trials"]
    assert {trial["ie_unlearning_weight"] for trial in trials} == {1, 0.1}
    assert all(math.isfinite(trial["score"]) and trial["seconds"] > 0 for trial in trials)
    assert trials[0]["score"] >= trials[1]["score"]
    assert result["best"] == {"ie_unlearning_weight": trials[0]["ie_unlearning_weight"]}
    words = shlex.split(result["command"])
    assert words[:4] == ["python", "run_unlearn.py", "--model=LightGCN", "--dataset=tiny"]
    assert words[-1] == f"--ie_unlearning_weight={trials[0]['ie_unlearning_weight']}"
    assert parse(words[2:])["config_dict"]["topk"] == "[5]"

    alone = objective({**simulation(Config("LightGCN", "tiny", config_dict=here)), **result["best"]})
    assert alone == pytest.approx({key: trials[0][key] for key in alone}, rel=1e-3), "the same without ray"
    for name in ("original", "retrain"):
        assert len(list(Path("saved").glob(f"{name}-*.pth"))) == 1, "trained once, then shared"


def test_table_shows_failed_trials_and_retrain():
    trials = [
        {"ie_rho": 0.1, "score": 0.9, "recall@20": 0.2, "seconds": 1.0},
        {"ie_rho": [1, 2], "error": "nan", "seconds": 2.0},
    ]
    header, best, failed, retrain = table(trials, {"recall@20": 0.25}).splitlines()
    assert header.split() == ["trial", "ie_rho", "score", "recall@20", "seconds", "error"]
    assert best.split() == ["1", "0.1", "0.9000", "0.2000", "1.0"]
    assert failed.split() == ["2", "[1,", "2]", "2.0", "nan"]
    assert retrain.split() == ["Retrain", "1.0000", "0.2500"]


def test_sweep_refuses_before_training(here, space_file):
    with pytest.raises(UsageError, match="line 1"):
        run_sweep("LightGCN", "tiny", config_dict=here, hyper_file=space_file("ie_rho choice 1\n"))
    assert not Path("saved").exists()


def test_package_does_not_import_ray():
    code = "import sys, recbole_unlearn, recbole_unlearn.tune; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
