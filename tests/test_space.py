"""The search space: its file, and its points."""

import math
from pathlib import Path

import numpy as np
import pytest

from recbole_unlearn.errors import UsageError
from recbole_unlearn.quick_start import objective_function, run_sweep
from recbole_unlearn.sweep.space import (
    SearchRange,
    check_space,
    points_of,
    read_space,
    swept_method,
    with_whole_numbers,
)

METHOD = "UnlearnRec"
SHIPPED = Path(__file__).parents[1] / "hyper.test"


def test_reads_each_kind(space_file):
    path = space_file(
        "# the influence encoder\n"
        "ie_unlearning_weight choice [1, 0.5,0.1]  # lambda_u\n\n"
        "ie_learning_rate loguniform -8,0\n"
        "ie_rho uniform 0, 0.5\n"
        "ie_epochs quniform 2,10,2\n"
    )
    assert read_space(path, METHOD) == {
        "ie_unlearning_weight": SearchRange("choice", (1, 0.5, 0.1), line=2),
        "ie_learning_rate": SearchRange("loguniform", (-8, 0), line=4),
        "ie_rho": SearchRange("uniform", (0, 0.5), line=5),
        "ie_epochs": SearchRange("quniform", (2, 10, 2), whole=True, line=6),
    }


@pytest.mark.parametrize(
    "line, message",
    [
        ("ie_rho choice", "Expected `SETTING KIND VALUES`"),
        ("ie_unlearning_wieght choice [1]", "Did you mean 'ie_unlearning_weight'?"),
        ("learning_rate choice [0.1]", "Did you mean 'ie_learning_rate'?"),
        ("ie-rho choice [0.1]", "Did you mean 'ie_rho'?"),
        ("forget_ratio choice [0.1]", "Unknown setting to sweep 'forget_ratio'"),
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
        ("ie_rho choice [0.1,0.1]", "different values"),
        ("ie_rho choice [{[1]: 2}]", "takes [A,B,...]"),
        ("ie_sample_size loguniform 64,4096", "natural logarithms"),
        ("ie_rho loguniform -2000,-1000", "natural logarithms"),
        ("ie_sample_size uniform 1,1e999", "takes LOW,HIGH"),
        ("ie_epochs quniform 2,10,0.5", "takes LOW,HIGH,STEP"),
        ("ie_rho quniform 0.1,0.4,0.5", "No multiple of the step lies in `0.1,0.4,0.5`"),
        ("ie_epochs uniform 2.2,2.8", "No whole number lies in `2.2,2.8`"),
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


SPACE = {
    "a": SearchRange("loguniform", (-8, 0)),
    "b": SearchRange("quniform", (0, 1, 0.25)),
    "c": SearchRange("quniform", (2, 10, 4), whole=True),
    "d": SearchRange("uniform", (0.5, 1)),
    "e": SearchRange("choice", ("x", "y")),
    "f": SearchRange("uniform", (1, 3), whole=True),
    "g": SearchRange("quniform", (0.5, 1.7, 0.4)),
}


def lies_in_space(point):
    assert math.exp(-8) * 0.999 <= point["a"] <= 1
    assert point["b"] in {0, 0.25, 0.5, 0.75, 1}
    assert point["c"] in {4, 8} and isinstance(point["c"], int), "multiples of the step, as in RecBole"
    assert 0.5 <= point["d"] <= 1
    assert point["e"] in {"x", "y"}
    assert point["f"] in {1, 2, 3} and isinstance(point["f"], int)
    assert point["g"] == pytest.approx(0.8) or point["g"] == pytest.approx(1.2) or point["g"] == pytest.approx(1.6)


def test_draws_lie_in_their_range_and_repeat():
    points = points_of(SPACE, "random", 200, seed=1)
    assert points == points_of(SPACE, "random", 200, seed=1) != points_of(SPACE, "random", 200, seed=2)
    assert points[:50] == points_of(SPACE, "random", 50, seed=1), "more samples begin with the same"
    for point in points:
        lies_in_space(point)
    assert np.median([point["a"] for point in points]) == pytest.approx(math.exp(-4), rel=0.5)
    assert {point["b"] for point in points} == {0, 0.25, 0.5, 0.75, 1}
    assert {point["c"] for point in points} == {4, 8}
    assert {point["f"] for point in points} == {1, 2, 3}


def test_optuna_draws_from_the_same_ranges():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [study.ask({key: values.distribution() for key, values in SPACE.items()}).params for _ in range(50)]
    for point in points:
        lies_in_space(point)
    assert len({point["e"] for point in points}) == 2


def test_a_grid_has_every_combination():
    space = {"ie_rho": SearchRange("choice", (0.1, 0.2)), "ie_epochs": SearchRange("choice", (1, 2, 3))}
    points = points_of(space, "grid", 1, seed=0)
    assert len({tuple(point.values()) for point in points}) == len(points) == 6
    assert all(set(point) == set(space) for point in points)
    with pytest.raises(UsageError, match="ie_change_weight has a range; use --search=random"):
        points_of({**space, "ie_change_weight": SearchRange("uniform", (0, 1))}, "grid", 1, seed=0)


def test_draws_do_not_repeat():
    few = {"ie_epochs": SearchRange("quniform", (1, 5, 1), whole=True)}
    assert sorted(point["ie_epochs"] for point in points_of(few, "random", 20, seed=0)) == [1, 2, 3, 4, 5]


def test_random_choices_do_not_repeat():
    space = {"ie_rho": SearchRange("choice", (0.1, 0.2)), "ie_epochs": SearchRange("choice", (1, 2, 3))}
    points = points_of(space, "random", 4, seed=0)
    assert len({tuple(point.values()) for point in points}) == len(points) == 4
    assert points == points_of(space, "random", 100, seed=0)[:4]
    assert len(points_of(space, "random", 100, seed=0)) == 6, "no more than there are"


def test_shipped_space_is_accepted_and_has_the_papers_grid(settings):
    space = read_space(SHIPPED, METHOD)
    check_space(space, SHIPPED, {**settings, "model": "LightGCN", "dataset": "tiny"})
    assert space["ie_unlearning_weight"].values == (1.0, 0.5, 0.1)
    assert space["ie_preserving_weight"].values == (1.0, 0.1, 0.01, 0.005, 0.001)
    assert space["ie_target"].values == ("unseen", "negative")
    assert space["ie_batch_size"].values == (512, 1024)
    assert space["ie_preserving_temperature"].values == space["ie_contrast_temperature"].values == (0.1, 1.0, 10.0)


def test_names_the_line_of_a_value_that_a_run_would_refuse(settings, space_file):
    path = space_file("ie_rho choice [0.1]\nie_target choice ['unseen','unsen']\n")
    with pytest.raises(UsageError, match="line 2: Unknown ie_target 'unsen'. Did you mean 'unseen'?"):
        check_space(read_space(path, METHOD), path, {**settings, "model": "LightGCN", "dataset": "tiny"})
    path = space_file("ie_rho uniform -1,1\n")
    with pytest.raises(UsageError, match="line 1: Setting 'ie_rho' must be a number >= 0"):
        check_space(read_space(path, METHOD), path, {**settings, "model": "LightGCN", "dataset": "tiny"})


@pytest.mark.parametrize("run", [objective_function, run_sweep], ids=["objective_function", "run_sweep"])
def test_a_sweep_refuses_settings_that_nothing_reads(settings, yaml_file, run):
    named = {**settings, "model": "LightGCN", "dataset": "tiny"}
    for config_dict, files in (({**named, "ie_rh": 0.1}, []), (named, [yaml_file("ie_rh: 0.1")])):
        with pytest.raises(UsageError, match="Unknown setting 'ie_rh'. Did you mean 'ie_rho'"):
            run(config_dict=config_dict, config_file_list=files)


def test_nothing_in_the_file_is_executed(space_file, tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(UsageError, match="takes"):
        read_space(space_file(f"ie_rho choice [open({str(trap)!r}, 'w')]\n"), METHOD)
    assert not trap.exists()


def test_the_method_is_the_one_chosen_or_ours(configure):
    assert swept_method(configure()) == METHOD
    assert swept_method(configure(unlearn_methods="GIF")) == "GIF"
    with pytest.raises(UsageError, match="of one method, not of CEU, GIF"):
        swept_method(configure(unlearn_methods=["CEU", "GIF"]))


def test_whole_numbers_of_other_searches_become_whole():
    assert with_whole_numbers({"ie_epochs": 4.0, "ie_rho": 1.0, "ie_target": "unseen"}) == {
        "ie_epochs": 4,
        "ie_rho": 1.0,
        "ie_target": "unseen",
    }
    assert isinstance(with_whole_numbers({"ie_epochs": 4.0})["ie_epochs"], int)
