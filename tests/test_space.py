"""The search space: its file, and its points."""

import math
from pathlib import Path

import numpy as np
import pytest

from recbole_unlearn.errors import UsageError
from recbole_unlearn.quick_start import objective_function, run_sweep
from recbole_unlearn.sweep.space import check_search, points_of, read_space, swept_method, with_whole_numbers

METHOD = "UnlearnRec"
SHIPPED = Path(__file__).parents[1] / "hyper.test"
EACH_KIND = """# the influence encoder
ie_learning_rate loguniform -8,0
ie_rho quniform 0,1,0.25
ie_epochs quniform 2,10,4
ie_change_weight uniform 0.5, 1
ie_target choice ['unseen', "negative"]  # no number

ie_n_layers uniform 1,3
ie_contrast_weight quniform 0.5,1.7,0.4
ie_passes loguniform 0,2
"""


@pytest.fixture
def read(space_file):
    return lambda text, *others: read_space(space_file(text), METHOD, *others)


@pytest.fixture
def named(settings):
    return {**settings, "model": "LightGCN", "dataset": "tiny"}


@pytest.mark.parametrize(
    "line, message",
    [
        ("ie_rho choice", "Expected `SETTING KIND VALUES`"),
        ("ie_unlearning_wieght choice [1]", "Did you mean 'ie_unlearning_weight'?"),
        ("learning_rate choice [0.1]", "Did you mean 'ie_learning_rate'?"),
        ("forget_ratio choice [0.1]", "Unknown setting to sweep 'forget_ratio'"),
        ("ie_contrast_weight choice [1]", "'ie_contrast_weight' is there twice"),
        ("ie_rho logunifrom -8,0", "Did you mean 'loguniform'?"),
        ("ie_rho choice []", "takes [A,B,...]"),
        ("ie_rho choice 0.1,0.2", "takes [A,B,...]"),
        ("ie_rho choice ['a']", "Setting 'ie_rho' must be a number >= 0, not 'a'"),
        ("ie_epochs choice [2.5]", "Setting 'ie_epochs' must be a whole number >= 1, not 2.5"),
        ("ie_rho choice [__import__('os')]", "takes [A,B,...]"),
        ("ie_rho uniform 0.5,0.1", "takes LOW,HIGH"),
        ("ie_rho uniform 0,1,2", "takes LOW,HIGH"),
        ("ie_rho quniform 0,1,0", "takes LOW,HIGH,STEP"),
        ("ie_request_ratio uniform 0,1", "Setting 'ie_request_ratio' must be"),
        ("ie_rho choice [0.1,0.1]", "different values"),
        ("ie_rho choice [{[1]: 2}]", "takes [A,B,...]"),
        ("ie_sample_size loguniform 64,4096", "natural logarithms"),
        ("ie_rho loguniform -2000,-1000", "natural logarithms"),
        ("ie_sample_size uniform 1,1e999", "takes LOW,HIGH"),
        ("ie_epochs quniform 2,10,0.5", "takes LOW,HIGH,STEP"),
        ("ie_rho quniform 0.1,0.4,0.5", "No multiple of the step lies in `0.1,0.4,0.5`"),
        ("ie_epochs uniform 2.2,2.8", "No whole number lies in `2.2,2.8`"),
        ("ie_target choice ['unseen','unsen']", "Unknown ie_target 'unsen'. Did you mean 'unseen'?"),
        ("ie_rho uniform -1,1", "Setting 'ie_rho' must be a number >= 0"),
    ],
)
def test_names_a_bad_line(space_file, line, message):
    path = space_file(f"ie_contrast_weight choice [0.001]\n{line}\n")
    with pytest.raises(UsageError) as error:
        read_space(path, METHOD)
    assert message in str(error.value)
    assert f"{path}, line 2: " in str(error.value)
    assert "\n" not in str(error.value)


def test_refuses_a_file_without_a_line(read, tmp_path):
    for text in ("", "# nothing\n"):
        with pytest.raises(UsageError, match="has no line"):
            read(text)
    with pytest.raises(UsageError, match="No such file"):
        read_space(tmp_path / "absent.test", METHOD)


def test_nothing_in_the_file_is_executed(read, tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(UsageError, match="takes"):
        read(f"ie_rho choice [open({str(trap)!r}, 'w')]\n")
    assert not trap.exists()


def lies_in_space(point):
    assert list(point) == [line.split()[0] for line in EACH_KIND.splitlines() if line[:2] == "ie"]
    assert math.exp(-8) * 0.999 <= point["ie_learning_rate"] <= 1
    assert point["ie_rho"] in {0, 0.25, 0.5, 0.75, 1}
    assert point["ie_epochs"] in {4, 8} and isinstance(point["ie_epochs"], int), "multiples of the step, as in RecBole"
    assert 0.5 <= point["ie_change_weight"] <= 1
    assert point["ie_target"] in {"unseen", "negative"}
    assert point["ie_n_layers"] in {1, 2, 3} and isinstance(point["ie_n_layers"], int)
    assert any(point["ie_contrast_weight"] == pytest.approx(multiple) for multiple in (0.8, 1.2, 1.6))
    assert point["ie_passes"] in range(1, 8) and isinstance(point["ie_passes"], int)


def test_draws_lie_in_their_range_and_repeat(read):
    space = read(EACH_KIND)
    points = points_of(space, "random", 200, seed=1)
    assert points == points_of(space, "random", 200, seed=1) != points_of(space, "random", 200, seed=2)
    assert points[:50] == points_of(space, "random", 50, seed=1), "more samples begin with the same"
    for point in points:
        lies_in_space(point)
        assert all(value == float(f"{value:.6g}") for value in point.values() if isinstance(value, float))
    assert np.median([point["ie_learning_rate"] for point in points]) == pytest.approx(math.exp(-4), rel=0.5)
    drawn = {key: {point[key] for point in points} for key in space}
    assert [len(drawn[key]) for key in ("ie_rho", "ie_epochs", "ie_target", "ie_n_layers")] == [5, 2, 2, 3]


def test_optuna_draws_from_the_same_ranges(read):
    optuna = pytest.importorskip("optuna")
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    distributions = OptunaSearch.convert_search_space(read(EACH_KIND))
    points = [study.ask(distributions).params for _ in range(50)]
    for point in points:
        lies_in_space(point)
    assert len({point["ie_target"] for point in points}) == 2


def test_choices(read):
    space = read("ie_rho choice [0.1,0.2]\nie_epochs choice [1,2,3]\n")
    grid = points_of(space, "grid", 1, seed=0)
    assert len({tuple(point.values()) for point in grid}) == len(grid) == 6, "every combination"
    points = points_of(space, "random", 100, seed=0)
    assert points != grid and sorted(map(str, points)) == sorted(map(str, grid)), "each once, in another order"
    assert points_of(space, "random", 4, seed=0) == points[:4]
    few = points_of(read("ie_epochs quniform 1,5,1\n"), "random", 20, seed=0)
    assert sorted(point["ie_epochs"] for point in few) == [1, 2, 3, 4, 5], "no more than there are"


def test_a_grid_needs_choices(read):
    with pytest.raises(UsageError, match="ie_rho has a range; use --search=random"):
        check_search("grid", "none", read("ie_epochs choice [1]\nie_rho uniform 0,1\n"))


def test_fixed_settings_are_not_searched(read):
    text = "ie_rho choice [0.1]\nie_epochs choice [1]\n"
    assert list(read(text, {"ie_rho": 0.3})) == ["ie_epochs"]
    with pytest.raises(UsageError, match="nothing left to search"):
        read(text, {"ie_rho": 0.3, "ie_epochs": 2})


def test_shipped_space_is_accepted_and_has_the_papers_grid():
    space = {key: domain.categories for key, domain in read_space(SHIPPED, METHOD).items()}
    assert space["ie_unlearning_weight"] == [1.0, 0.5, 0.1]
    assert space["ie_preserving_weight"] == [1.0, 0.1, 0.01, 0.005, 0.001]
    assert space["ie_target"] == ["unseen", "negative"]
    assert space["ie_batch_size"] == [512, 1024]
    assert space["ie_preserving_temperature"] == space["ie_contrast_temperature"] == [0.1, 1.0, 10.0]


@pytest.mark.parametrize("run", [objective_function, run_sweep], ids=["objective_function", "run_sweep"])
def test_a_sweep_refuses_settings_that_nothing_reads(named, yaml_file, run):
    for config_dict, files in (({**named, "ie_rh": 0.1}, []), (named, [yaml_file("ie_rh: 0.1")])):
        with pytest.raises(UsageError, match="Unknown setting 'ie_rh'. Did you mean 'ie_rho'"):
            run(config_dict=config_dict, config_file_list=files)


def test_the_method_is_the_one_chosen_or_ours(configure):
    assert swept_method(configure()) == METHOD
    assert swept_method(configure(unlearn_methods="GIF")) == "GIF"
    with pytest.raises(UsageError, match="of one method, not of CEU, GIF"):
        swept_method(configure(unlearn_methods=["CEU", "GIF"]))


def test_whole_numbers_of_other_searches_become_whole():
    settings = with_whole_numbers({"ie_epochs": 4.0, "ie_rho": 1.0, "ie_target": "unseen"})
    assert settings == {"ie_epochs": 4, "ie_rho": 1.0, "ie_target": "unseen"}
    assert isinstance(settings["ie_epochs"], int) and isinstance(settings["ie_rho"], float)
