"""Configuration: precedence, literals that are never executed, and messages for what is wrong."""

import copy
import json
import sys

import pytest

from recbole_unlearn.config import Config
from recbole_unlearn.data.split import prepare_data
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS


@pytest.mark.parametrize(
    "changes, wrong, closest",
    [
        ({"model": "LightGNC"}, "model 'LightGNC'", "LightGCN"),
        ({"model": "simgcl"}, "model 'simgcl'", "SimGCL"),
        ({"unlearn_methods": ["Retrain", "UnlearnRek"]}, "unlearning method 'UnlearnRek'", "UnlearnRec"),
        ({"unlearn_methods": "retrain"}, "unlearning method 'retrain'", "Retrain"),
        ({"metrics": ["Recal"]}, "metric 'Recal'", "recall"),
        ({"metrics": "NDGC"}, "metric 'NDGC'", "ndcg"),
        ({"metrics": ["NDCG", "MI_BF"]}, "metric 'MI_BF'", "mi-bf"),
        ({"metrics": ["NDCG", "Hits"]}, "metric 'Hits'", "hit"),
        ({"forget_ration": 0.1}, "setting 'forget_ration'", "forget_ratio"),
        ({"unlearn_method": "Retrain"}, "setting 'unlearn_method'", "unlearn_methods"),
        ({"ie_epoch": 3}, "setting 'ie_epoch'", "ie_epochs"),
    ],
)
def test_unknown_names_are_refused_with_the_closest_first(configure, changes, wrong, closest):
    with pytest.raises(UsageError) as error:
        configure(**changes)
    message = str(error.value)
    assert message.startswith(f"Unknown {wrong}. Did you mean '{closest}'? Available: {closest}, ")
    assert "\n" not in message


def test_metrics_of_ratings_are_refused(configure):
    with pytest.raises(UsageError, match="Unknown metric 'RMSE'.*ndcg"):
        configure(metrics=["NDCG", "RMSE"])


def test_name_like_no_other_lists_what_there_is(configure):
    with pytest.raises(UsageError, match=r"Unknown model 'XXXXXXXX'\. Available: BPR, LightGCN, "):
        configure("XXXXXXXX")


def test_unknown_prefixed_key_in_a_file(settings, yaml_file):
    with pytest.raises(UsageError, match="forget_rato.*Did you mean 'forget_ratio'"):
        Config("BPR", "tiny", [yaml_file("forget_rato: 0.1")], settings)


def test_unknown_dataset_says_where_its_file_goes(configure, data_path):
    config = Config("BPR", "tinny", config_dict={"data_path": data_path, "gpu_id": "", "seed": 1})
    with pytest.raises(UsageError, match=r"Dataset 'tinny'.*tinny/tinny\.inter.*user_id:token<TAB>item_id:token") as error:
        prepare_data(config)
    assert "Did you mean 'tiny'?" in str(error.value)


@pytest.mark.parametrize("given", [{"dataset": "tiny"}, {"model": "BPR"}])
def test_missing_model_or_dataset(given):
    missing = ({"model", "dataset"} - set(given)).pop()
    with pytest.raises(UsageError, match=f"No {missing} given: use --{missing}=NAME"):
        Config(config_dict=given)


def test_model_and_dataset_may_come_from_a_file(settings, yaml_file):
    config = Config(config_file_list=[yaml_file("model: BPR\ndataset: tiny")], config_dict=settings)
    assert (config["model"], config["dataset"]) == ("BPR", "tiny")


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b", "just text", "x: !!python/object/apply:os.getcwd []"])
def test_broken_files(settings, yaml_file, text):
    with pytest.raises(UsageError, match="settings.yaml"):
        Config("BPR", "tiny", [yaml_file(text)], settings)


def test_missing_file(settings):
    with pytest.raises(UsageError, match="'gone.yaml' does not exist"):
        Config("BPR", "tiny", ["gone.yaml"], settings)


def test_empty_file_is_no_error(settings, yaml_file):
    assert Config("BPR", "tiny", [yaml_file("# nothing\n")], settings)["embedding_size"] == 8


def test_later_files_win_and_the_dict_wins_over_them(settings, tmp_path):
    for name, text in (("a.yaml", "epochs: 11\nseed: 11\nweight_decay: 0.1"), ("b.yaml", "epochs: 12\nseed: 12")):
        (tmp_path / name).write_text(text)
    del settings["epochs"]
    config = Config("BPR", "tiny", ["a.yaml", "b.yaml"], {**settings, "seed": 13})
    assert (config["weight_decay"], config["epochs"], config["seed"]) == (0.1, 12, 13)


def test_plugin_yaml_wins_over_recboles_and_loses_to_the_users():
    assert Config("LightGCN", "ml-100k")["topk"] == [20]
    assert Config("LightGCN", "ml-100k", config_dict={"topk": [7], "valid_metric": "NDCG@7"})["topk"] == [7]


def test_the_passed_dict_is_not_changed(settings):
    given = {
        **settings,
        "epochs": "3",
        "metrics": "NDCG",
        "train_neg_sample_args": {"distribution": "uniform"},
        "eval_args": {"mode": "full", "split": {"RS": [0.8, 0.1, 0.1]}},
        "unlearn_methods": ["DropEdges"],
    }
    before = copy.deepcopy(given)
    Config("LightGCN", "tiny", config_dict=given)
    assert given == before


def test_the_command_line_is_not_read(configure, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--epochs=99", "--model=BPR"])
    config = configure("SimGCL")
    assert (config["epochs"], config["model"]) == (4, "SimGCL")


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-4", 1e-4),
        ("3", 3),
        ("True", True),
        ("false", False),
        ("None", None),
        ("[5, 10]", [5, 10]),
        ("{'RS': [0.8, 0.1, 0.1]}", {"RS": [0.8, 0.1, 0.1]}),
        ("ED", "ED"),
        ("a,b", "a,b"),
        ("", ""),
        ("007", "007"),
        ("{[]: 1}", "{[]: 1}"),
        ("10 ** 9", "10 ** 9"),
    ],
)
def test_strings_are_read_as_literals_where_they_are_some(configure, text, value):
    assert configure(my_setting=text)["my_setting"] == value


def test_strings_are_not_executed(configure, tmp_path):
    code = "__import__('pathlib').Path('executed').touch()"
    assert configure(my_setting=code)["my_setting"] == code
    assert not (tmp_path / "executed").exists()


def test_yaml_numbers_with_exponents_are_numbers(settings, yaml_file):
    config = Config("BPR", "tiny", [yaml_file("my_setting: 1e-4")], settings)
    assert config["my_setting"] == 1e-4


@pytest.mark.parametrize("given", ["Retrain, DropEdges", ["Retrain", "DropEdges"]])
def test_methods_as_text_or_list(configure, given):
    assert configure(unlearn_methods=given)["unlearn_methods"] == ["Retrain", "DropEdges"]


def test_all_methods(configure):
    assert configure(unlearn_methods="all")["unlearn_methods"] == sorted(METHODS)


@pytest.mark.parametrize(
    "changes",
    [
        {"topk": [0]},
        {"forget_ratio": 1.5},
        {"forget_ratio": -0.1},
        {"forget_ratio": "much"},
        {"forget_type": "adversarial", "forget_attack_pool": 2.0},
        {"unlearn_methods": None},
        {"forget_seed": "abc"},
        {"eval_args": 5},
        {"eval_args": {"mode": "fulll"}},
    ],
)
def test_values_out_of_range_are_refused(configure, changes):
    with pytest.raises(UsageError, match=list(changes)[-1]):
        prepare_data(configure(**changes))


@pytest.mark.parametrize(
    "key", ["unlearn_receraser_partition", "unlearn_grapheraser_partition", "unlearn_grapheraser_partition_on"]
)
def test_unknown_choice_lists_those_that_exist(configure, key):
    with pytest.raises(UsageError, match=f"Unknown {key} 'usr'.*Available: "):
        configure(unlearn_methods="all", **{key: "usr"})


@pytest.mark.parametrize("changes", [{"valid_metric": "MRR@5"}, {"topk": [10]}, {"metrics": ["Recall"]}])
def test_valid_metric_must_be_one_that_is_computed(configure, changes):
    with pytest.raises(UsageError, match="valid_metric"):
        configure(**changes)


def test_empty_gpu_id_is_the_cpu(configure):
    assert configure()["device"].type == "cpu"


def test_replace_makes_a_copy(configure):
    config = configure()
    changed = config.replace(epochs=99, ie_epochs=98)
    assert (changed["epochs"], changed["ie_epochs"]) == (99, 98)
    assert (config["epochs"], config["ie_epochs"]) == (4, 2)


def test_for_model_is_the_shipped_model_on_the_same_data(configure):
    settings = ["learning_rate", "train_batch_size", "embedding_size", "reg_weight", "epochs"]
    own = configure("SGL", type="RW", learning_rate=0.07, reg_weight=3).for_model("LightGCN")
    assert (own["model"], own["seed"], own["topk"], own["forget_ratio"]) == ("LightGCN", 7, [5], 0.05)
    assert [own[key] for key in settings] == [0.005, 2048, 64, 1e-4, 80]


def test_settings_survive_json_and_rebuilding(configure):
    config = configure("SGL", type="RW")
    stored = json.loads(json.dumps(config.as_dict()))
    assert stored == config.as_dict()
    assert Config(stored["model"], stored["dataset"], config_dict=stored).as_dict() == stored


def test_training_settings_are_those_that_change_a_training(configure):
    base = configure().training_settings()
    irrelevant = dict(checkpoint_dir="elsewhere", show_progress=True, ie_epochs=9, forget_ratio=0.5, report_file="x.json", eval_batch_size=9)
    assert configure(**irrelevant).training_settings() == base
    for changes in ({"seed": 1}, {"learning_rate": 1.0}, {"embedding_size": 4}, {"my_setting": 1}):
        assert configure(**changes).training_settings() != base


def test_rows_do_not_depend_on_how_many_scores_are_held_at_a_time(configure):
    base = configure().as_dict()
    assert configure(eval_batch_size=9, show_progress=True).same_results(base)
    assert not configure(unlearn_finetune_epochs=9).same_results(base)
