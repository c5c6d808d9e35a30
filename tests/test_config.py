"""Configuration: precedence, literals that are never executed, and messages for what is wrong."""

import copy
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import recbole

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import DERIVED, Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.known_settings import known_settings
from recbole_unlearn.method import METHODS
from recbole_unlearn.task import prepare_data


@pytest.mark.parametrize(
    "changes, wrong, closest",
    [
        ({"model": "LightGNC"}, "model 'LightGNC'", "LightGCN"),
        ({"model": "simgcl"}, "model 'simgcl'", "SimGCL"),
        ({"model": "XXXXXXXX"}, "model 'XXXXXXXX'", None),  # like no other
        ({"unlearn_methods": ["Retrain", "UnlearnRek"]}, "unlearning method 'UnlearnRek'", "UnlearnRec"),
        ({"unlearn_methods": "retrain"}, "unlearning method 'retrain'", "Retrain"),
        ({"metrics": ["Recal"]}, "metric 'Recal'", "recall"),
        ({"metrics": "NDGC"}, "metric 'NDGC'", "ndcg"),
        ({"metrics": ["NDCG", "MI_BF"]}, "metric 'MI_BF'", "mi-bf"),
        ({"metrics": ["NDCG", "Hits"]}, "metric 'Hits'", "hit"),
        ({"metrics": ["NDCG", "RMSE"]}, "metric 'RMSE'", None),  # of ratings
        *(
            ({"unlearn_methods": "all", name: "usr"}, f"{name} 'usr'", None)
            for name in (
                "unlearn_receraser_partition",
                "unlearn_grapheraser_partition",
                "unlearn_grapheraser_partition_on",
            )
        ),
    ],
)
def test_unknown_names_are_refused_with_the_closest_first(configure, changes, wrong, closest):
    with pytest.raises(UsageError) as error:
        configure(**changes)
    message = str(error.value)
    hint = f"Did you mean '{closest}'? Available: {closest}, " if closest else ""
    assert message.startswith(f"Unknown {wrong}") and hint in message and "Available: " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name, hint",
    [
        ("learning_rat", "Did you mean 'learning_rate'?"),
        ("Learning_Rate", "Did you mean 'learning_rate'?"),
        ("embedding_dim", "Did you mean 'embedding_size'?"),
        ("forget_ration", "Did you mean 'forget_ratio'?"),
        ("unlearn_method", "Did you mean 'unlearn_methods'?"),
        ("ie_epoch", "Did you mean 'ie_epochs'?"),
        ("lambda", "Did you mean 'simgcl_lambda'?"),
        ("leave_one_num", "Did you mean 'eval_args'?"),
        ("forget-ratio", "names have underscores, use forget_ratio"),
        ("batch_size", "Did you mean 'train_batch_size'?"),
        ("device", "Did you mean 'gpu_id'?"),
        ("neg_sampling", "Did you mean 'train_neg_sample_args'?"),
        ("config_files", "Unknown setting 'config_files'"),
        ("config_file", "Unknown setting 'config_file'"),
        ("seeds", "Did you mean 'seed'?"),
        (7, "Unknown setting '7'"),
        ("qqqqqqqq", "Unknown setting 'qqqqqqqq'. Known are "),
    ],
)
def test_a_setting_that_nothing_reads_is_refused_in_a_dict_and_in_a_file(settings, yaml_file, name, hint):
    for file, changes in (([], {name: 1}), ([yaml_file(f"epochs: 1\n{name}: 1")], {})):
        with pytest.raises(UsageError) as error:
            Config("BPR", "tiny", file, {**settings, **changes})
        assert hint in str(error.value) and "\n" not in str(error.value)
    assert "settings.yaml" in str(error.value), "a file's is found there"


def test_every_setting_that_recbole_reads_is_known():
    """In RecBole's source: ``config["x"]``, ``config.get("x")`` and ``"x" in config``."""
    name = r"""["'](\w+)["']"""
    reads = rf"config\[{name}\](?!\s*=[^=])|config\.get\({name}|{name} (?:not )?in (?:self\.)?config\b(?!\[)"
    sets = rf"config\[{name}\]\s*=[^=]"
    source = "\n".join(path.read_text() for path in Path(recbole.__file__).parent.rglob("*.py"))
    read = {name for found in re.findall(reads, source) for name in found if name}
    assert len(read) > 250
    set_by_recbole = {*re.findall(sets, source), *DERIVED, "POS_ITEMS", "NEG_ITEMS"}
    assert read - set_by_recbole <= known_settings()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train_neg_sample_args": {"distrbution": "uniform"}}, "'distrbution'. Did you mean 'distribution'?"),
        ({"clip_grad_norm": {"max_nrom": 1}}, "key in 'clip_grad_norm' 'max_nrom'. Did you mean 'max_norm'?"),
        ({"eval_args": {"splt": {"RS": [8, 1, 1]}}}, "'splt'. Did you mean 'split'?"),
        ({"eval_args": {"split": {"RSS": [8, 1, 1]}}}, "'RSS'. Did you mean 'RS'?"),
        ({"eval_args": {"mode": {"vald": "full"}}}, "'vald'. Did you mean 'valid'?"),
        ({"load_col": {"intr": ["user_id", "item_id"]}}, "key in 'load_col' 'intr'. Did you mean 'inter'?"),
        ({"unused_col": {"users": ["age"]}}, "key in 'unused_col' 'users'. Did you mean 'user'?"),
    ],
)
def test_a_key_within_a_setting_that_nothing_reads_is_refused(settings, yaml_file, changes, message):
    for file, more in (([], changes), ([yaml_file(json.dumps(changes))], {})):
        with pytest.raises(UsageError) as error:
            Config("BPR", "tiny", file, {**settings, **more})
        assert message in str(error.value) and "\n" not in str(error.value)


def test_stored_settings_are_taken_as_they_are_and_lose_to_the_dict(settings):
    stored = {**settings, "lambda": 0.5, "eps": "0.1", "ie_of_old": 1, "epochs": 9, "dataset": "12_3", "model": "BPR"}
    config = Config(config_dict={"epochs": 3}, stored=stored)
    taken = [config[key] for key in ("lambda", "eps", "ie_of_old", "epochs", "dataset")]
    assert taken == [0.5, "0.1", 1, 3, "12_3"]
    assert config.for_model("LightGCN")["lambda"] == 0.5
    with pytest.raises(UsageError, match="Unknown setting 'epsilon'"):
        Config(config_dict={"epsilon": 3}, stored=stored)


def test_settings_of_other_models_and_methods_are_named(yaml_file):
    given = {"temperature": 0.1, "unlearn_gif_damping": 0.5, "wandb_project": "x", "offset": 0, "n_layers": 1}
    assert Config("LightGCN", "tiny", config_dict=given).unread() == ["temperature", "unlearn_gif_damping"]
    shared = yaml_file("mlp_hidden_size: [64]\nssl_tau: 0.5\nload_col: ~\ntrain_neg_sample_args: ~")
    assert Config("SGL", "tiny", [shared]).unread() == ["mlp_hidden_size"]


def test_what_a_run_does_not_use_is_logged(settings, caplog):
    changes = {"unlearn_methods": "DropEdges", "epochs": 1, "temperature": 0.1}
    run_unlearn("BPR", "tiny", config_dict={**settings, **changes}, saved=False)
    assert re.search("Not used, because BPR and the methods have no such settings: .*temperature", caplog.text)


@pytest.mark.parametrize("name, kind", [("forget_users", "user"), ("forget_items", "item"), ("forget_file", "file")])
def test_what_to_forget_fits_the_forget_type(configure, settings, yaml_file, caplog, name, kind):
    assert configure(**{name: None, "forget_type": "random"})[name] is None
    assert configure(**{name: "x", "forget_type": kind})["forget_type"] == kind
    with pytest.raises(UsageError, match=f"'{name}' needs forget_type '{kind}', not 'adversarial'"):
        configure(**{name: "x", "forget_type": "adversarial"})
    file = yaml_file(f"{name}: x\nforget_type: random")
    without = {key: value for key, value in settings.items() if key != "forget_type"}
    with pytest.raises(UsageError, match=f"'{name}' needs forget_type '{kind}', not 'random'"):
        Config("BPR", "tiny", [file], without)
    Config("BPR", "tiny", [yaml_file(f"{name}: x\nforget_type: {kind}")], settings)
    assert f"'{name}' of a config file is not used: forget_type is 'random'" in caplog.text


def test_numbers_of_numpy_are_numbers(configure):
    config = configure(
        epochs=np.int64(3), topk=[np.int64(5)], learning_rate=np.float32(0.5), metrics=np.array(["NDCG"])
    )
    assert (config["epochs"], config["topk"], config["learning_rate"], config["metrics"]) == (3, [5], 0.5, ["NDCG"])
    json.dumps(config.as_dict())


@pytest.mark.parametrize("text", ["[train,valid,test]", "train, valid,test", "['train','valid','test']"])
def test_lists_of_names_as_a_shell_gives_them(configure, text):
    assert configure(benchmark_filename=text)["benchmark_filename"] == ["train", "valid", "test"]
    assert configure(metrics="[Recall,NDCG]", benchmark_filename="None")["metrics"] == ["Recall", "NDCG"]


def test_a_users_own_ml_100k_is_read(tmp_path, data_path):
    assert "dataset_example" in Config("BPR", "ml-100k", config_dict={"data_path": data_path})["data_path"]
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "ml-100k.inter").touch()
    config = Config("BPR", "ml-100k", config_dict={"data_path": str(tmp_path)})
    assert config["data_path"] == str(tmp_path / "ml-100k")
    assert Config(stored=config.as_dict())["data_path"] == config["data_path"]


def test_no_negative_items_survive_rebuilding(configure):
    config = configure(train_neg_sample_args=None)
    assert Config(stored=config.as_dict())["train_neg_sample_args"] == config["train_neg_sample_args"]


def test_use_gpu_false_is_the_cpu(configure):
    assert configure(use_gpu=False, gpu_id="0")["gpu_id"] == ""
    assert configure(use_gpu=True, gpu_id="0")["gpu_id"] == "0"
    assert configure(gpu_id="")["device"].type == "cpu"


def test_unknown_dataset_says_where_its_file_goes(configure, data_path):
    config = Config("BPR", "tinny", config_dict={"data_path": data_path, "gpu_id": "", "seed": 1})
    with pytest.raises(
        UsageError, match=r"Dataset 'tinny'.*tinny/tinny\.inter.*user_id:token<TAB>item_id:token"
    ) as error:
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


@pytest.mark.parametrize(
    "text, message",
    [
        ("epochs: [1", "not valid yaml"),
        ("- a\n- b", "must hold `key: value` lines"),
        ("just text", "must hold `key: value` lines"),
        ("epochs: !!python/object/apply:os.getcwd []", "not valid yaml"),
        pytest.param("[" * 100_000, "not valid yaml", id="nested"),
        ("epochs: 1\nseed: 2\nepochs: 3", "line 3: 'epochs' appears twice, first in line 1"),
        ("eval_args: {order: RO, order: TO}", "line 1: 'order' appears twice"),
        ("epochs: 1\n'epochs': 3", "line 2: 'epochs' appears twice"),
        ("metrics:\n  - {a: 1, a: 2}", "line 2: 'a' appears twice"),
    ],
)
def test_broken_files(settings, yaml_file, text, message):
    with pytest.raises(UsageError) as error:
        Config("BPR", "tiny", [yaml_file(text)], settings)
    assert "settings.yaml'" in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


def test_files_that_cannot_be_read(settings, tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"epochs: '\xe9'")
    for name, what in (("latin.yaml", "cannot be read"), (".", "cannot be read"), ("gone.yaml", "does not exist")):
        with pytest.raises(UsageError, match=f"'{name}' {what}"):
            Config("BPR", "tiny", [name], settings)


def test_a_byte_order_mark_aliases_and_exponents_are_fine(settings, yaml_file):
    text = "\ufeffnoise_scale: &x {a: 1}\nw_max: *x\nw_min: {<<: *x, b: 2}\nweight_decay: 1e-4"
    config = Config("BPR", "tiny", [yaml_file(text)], settings)
    assert (config["noise_scale"], config["w_max"], config["w_min"]) == ({"a": 1}, {"a": 1}, {"a": 1, "b": 2})
    assert config["weight_decay"] == 1e-4


IDS = {  # as typed on a command line or given in Python: the tokens
    "12_3": ["12_3"],
    "1.10": ["1.10"],
    "007": ["007"],
    "0x1F,1e5, True ,None": ["0x1F", "1e5", "True", "None"],
    "['196','186']": ["196", "186"],
    "[196,186]": ["196", "186"],
    "[12_3, 1.10,007]": ["12_3", "1.10", "007"],
    "['a,b', \"it's\", c]": ["a,b", "it's", "c"],
    "'a,b','c'": ["a,b", "c"],
    "'a,b'": ["a,b"],
    "[1": ["[1"],
    "1]": ["1]"],
    "['[1]']": ["[1]"],
    "O'Neil,'x": ["O'Neil", "'x"],
    "(1,2": ["(1", "2"],
    "u3, u17,u3": ["u3", "u17"],
    "'\\u00e9 '": ["é "],
}


@pytest.mark.parametrize("text", IDS)
@pytest.mark.parametrize("name, kind", [("forget_users", "user"), ("forget_items", "item")])
def test_identifiers_are_text_from_the_first_to_the_last_character(configure, text, name, kind):
    assert configure(forget_type=kind, **{name: text})[name] == IDS[text]


@pytest.mark.parametrize(
    "value", [196, np.int64(196), [196], ("196",), {"196"}, np.array([196]), pd.Series(["196"]), ["196", 196]]
)
def test_identifiers_in_python_may_be_whole_numbers(configure, value):
    assert configure(forget_type="user", forget_users=value)["forget_users"] == ["196"]


@pytest.mark.parametrize(
    "value, message",
    [
        ([1.5], "one is a float: quote it"),
        (np.array([1.0]), "one is a float"),
        (True, "one is a bool"),
        ([np.True_], "one is a bool"),
        ([None], "one is a NoneType"),
        ([b"a"], "one is a bytes"),
        ({"a": 1}, "one is a dict"),
        ("", "has an empty token"),
        ("a,,b", "has an empty token"),
        (["a", ""], "has an empty token"),
        ([], "names nothing"),
    ],
)
def test_identifiers_that_are_no_texts(configure, value, message):
    with pytest.raises(UsageError, match=f"Setting 'forget_items'.*{message}"):
        configure(forget_type="item", forget_items=value)


@pytest.mark.parametrize("text, tokens", [
    ("[196, 'a,b', 007x, '1_000', 1.5]", ["196", "a,b", "007x", "1_000", "1.5"]),
    ("196", ["196"]),
    ("u1, u2", ["u1", "u2"]),
    ("'12_3'", ["12_3"]),
    ("~", None),
    ("null", None),
    ("", None),
])  # fmt: skip
def test_identifiers_in_yaml(settings, yaml_file, text, tokens):
    file = yaml_file(f"forget_users: {text}")
    assert Config("BPR", "tiny", [file], {**settings, "forget_type": "user"})["forget_users"] == tokens


@pytest.mark.parametrize(
    "text", ["007", "12_3", "1.10", "1e5", "0x1F", "0b11", "1:30", "yes", "True", "null", ".nan", "2026-11-20"]
)
def test_identifiers_that_yaml_would_change_are_to_be_quoted(settings, yaml_file, text):
    alone = [] if text == "null" else [(text, 2)]  # as the value of the setting it names nobody
    for value, line in (*alone, (f"[u1, {text}]", 2), (f"\n- u1\n- {text}", 4)):
        with pytest.raises(UsageError) as error:
            Config("BPR", "tiny", [yaml_file(f"epochs: 1\nforget_users: {value}")], {**settings, "forget_type": "user"})
        message = f"line {line}: forget_users has a token that YAML reads as another value; put it in quotes."
        assert message in str(error.value) and "\n" not in str(error.value)
    quoted = Config("BPR", "tiny", [yaml_file(f"forget_users: ['{text}']")], {**settings, "forget_type": "user"})
    assert quoted["forget_users"] == [text]


@pytest.mark.parametrize("key", ["data_path", "checkpoint_dir", "USER_ID_FIELD", "TIME_FIELD", "field_separator"])
def test_names_and_paths_stay_text(configure, settings, yaml_file, key):
    del settings["data_path"], settings["checkpoint_dir"]
    for text in ("2020_1", "1.10", "007", "True", "[1"):
        given = [Config("BPR", "tiny", config_dict={**settings, key: text})]
        if text != "[1":
            given.append(Config("BPR", "tiny", [yaml_file(f"{key}: {text}")], settings))
        for config in given:
            assert config.as_dict()[key] == text
            assert Config(config_dict=config.as_dict()).as_dict()[key] == text, "read again, as by a worker"


def test_the_dataset_and_its_fields_stay_text(settings, yaml_file):
    file = yaml_file("dataset: 007\nmodel: BPR\nload_col: {inter: [007, 1.10]}\nbenchmark_filename: [01, 1_0, 2]")
    config = Config(config_file_list=[file], config_dict=settings)
    assert (config["dataset"], config["load_col"]) == ("007", {"inter": ["007", "1.10"]})
    assert config["benchmark_filename"] == ["01", "1_0", "2"]
    assert Config(config_dict={**settings, "dataset": "12_3", "model": "BPR"})["dataset"] == "12_3"


@pytest.mark.parametrize("given, separator", [(r"\t", "\t"), ("'\\t'", "\t"), (",", ","), ("'", "'"), ("\t", "\t")])
def test_separators_as_a_shell_gives_them(configure, given, separator):
    assert configure(field_separator=given)["field_separator"] == separator


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
    assert configure(noise_scale=text)["noise_scale"] == value


def test_strings_are_not_executed(configure, tmp_path):
    code = "__import__('pathlib').Path('executed').touch()"
    assert configure(noise_scale=code)["noise_scale"] == code
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "given, names",
    [(given, ["Retrain", "DropEdges"]) for given in ("Retrain, DropEdges", ["Retrain", "DropEdges"])]
    + [("all", ["Retrain", *sorted(set(METHODS) - {"DropEdges", "Exact", "InfluenceCG", "Retrain"}), "DropEdges"])],
)
def test_methods_as_text_or_list(configure, given, names):
    assert configure(unlearn_methods=given)["unlearn_methods"] == names


@pytest.mark.parametrize(
    "changes, message",
    [
        *(
            ({name: value}, f"Setting '{name}' must be")
            for name, value in [  # RecBole takes them for other values
                ("shuffle", "no"),
                ("enable_amp", "off"),
                ("use_gpu", "no"),
                ("show_progress", "x"),
                ("learner", "adan"),
                ("state", "verbose"),
                ("worker", "x"),
                ("weight_decay", -1),
                ("clip_grad_norm", 5),
                ("metric_decimal_place", "x"),
                ("report_file", "report-0.1"),
                ("report_file", "report.html"),
            ]
        ),
        ({"topk": [0]}, "topk"),
        *(({"forget_ratio": ratio}, "forget_ratio") for ratio in (1.5, -0.1, "much")),
        ({"forget_type": "adversarial", "forget_attack_pool": 2.0}, "forget_attack_pool"),
        ({"unlearn_methods": None}, "unlearn_methods"),
        ({"forget_seed": "abc"}, "forget_seed"),
        *(({"eval_args": value}, "eval_args") for value in (5, {"mode": "fulll"})),
        *(({name: value}, "valid_metric") for name, value in [("valid_metric", "MRR@5"), ("topk", [10])]),
        ({"metrics": ["Recall"]}, "valid_metric"),  # it must be one that is computed
        ({"train_file": "train.inter"}, "Setting 'train_file' .* needs --checkpoint"),
    ],
)
def test_values_that_do_not_fit_are_refused(configure, changes, message):
    with pytest.raises(UsageError, match=message):
        prepare_data(configure(**changes))


def test_valid_metric_may_be_one_of_whole_rankings(configure):
    assert configure(metrics=["GAUC", "NDCG"], valid_metric="GAUC")["valid_metric"] == "GAUC"


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
    irrelevant = dict(
        checkpoint_dir="elsewhere",
        show_progress=True,
        ie_epochs=9,
        forget_ratio=0.5,
        report_file="x.json",
        eval_batch_size=9,
    )
    assert configure(**irrelevant).training_settings() == base
    for changes in ({"seed": 1}, {"learning_rate": 1.0}, {"embedding_size": 4}, {"noise_scale": 1}):
        assert configure(**changes).training_settings() != base


def test_rows_do_not_depend_on_how_many_scores_are_held_at_a_time(configure):
    base = configure().as_dict()
    assert configure(eval_batch_size=9, show_progress=True).same_results(base)
    assert not configure(unlearn_finetune_epochs=9).same_results(base)
