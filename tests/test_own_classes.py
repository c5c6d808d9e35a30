"""Backbones and methods that a user writes in a module outside of the package."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import pytest

from recbole_unlearn import DeletionRequest, load_data_and_model, run_unlearn, unlearn
from recbole_unlearn.command_line import main
from recbole_unlearn.config import method_defaults
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.registry import own_sources
from recbole_unlearn.report.software import software_versions
from recbole_unlearn.sweep import worker
from recbole_unlearn.sweep.space import with_whole_numbers
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import code, train_backbone

SOURCE = """
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType

from recbole_unlearn.propagation import propagate
from recbole_unlearn.method import METHODS, Stage, Unlearner
from recbole_unlearn.model import MODELS, UnlearnableRecommender, dataset_graph


@MODELS.register
class OwnModel(UnlearnableRecommender, GeneralRecommender):
    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user_embedding = torch.nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = torch.nn.Embedding(self.n_items, config["embedding_size"])
        self.hop_weight = config["own_hop_weight"]
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego, adjacency):
        return ego + self.hop_weight * propagate(adjacency, ego)


@MODELS.register
class OwnDeepModel(OwnModel):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.transform = torch.nn.Linear(config["embedding_size"], config["embedding_size"])


@METHODS.register
class OwnMethod(Unlearner):
    def unlearn(self):
        yield Stage("", self.revised(self.original, self.original.ego_embeddings() * self.config["unlearn_own_factor"]))
"""
DECLARED = (
    SOURCE.replace(
        "@MODELS.register\nclass OwnModel",
        """
from recbole_unlearn.settings import Count, CountOrZero, Settings, Share, setting


class OwnModelSettings(Settings):
    n_layers: CountOrZero = setting(0, "Layers, of which there may be none.")
    own_hop_weight: Share = setting(0.5, "Weight of the neighbours.")


class OwnMethodSettings(Settings):
    unlearn_own_factor: Share = setting(0.5, "Factor of the rows.")
    unlearn_own_rounds: Count = setting(3, "Rounds.")


@MODELS.register
class OwnModel""",
    )
    .replace("    input_type", "    settings = OwnModelSettings\n    input_type")
    .replace("class OwnMethod(Unlearner):\n", "class OwnMethod(Unlearner):\n    settings = OwnMethodSettings\n\n")
)
NAMES = ("OwnModel", "OwnDeepModel", "OwnMethod")


def unregister():
    for name in NAMES:
        for registry in (MODELS, METHODS):
            registry._classes.pop(name, None)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The module, imported; another text of it is ``own(text)``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("OwnModel", "OwnDeepModel"):
        (tmp_path / f"{name}.yaml").write_text("own_hop_weight: 0.5\n")
    (tmp_path / "OwnMethod.yaml").write_text("unlearn_own_factor: 0.5\nunlearn_own_rounds: 3\n")

    def load(text=SOURCE):
        unregister()
        sys.modules.pop("own_module", None)
        (tmp_path / "own_module.py").write_text(text)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return importlib.import_module("own_module")
        finally:
            sys.dont_write_bytecode = before

    load()
    yield load
    unregister()
    sys.modules.pop("own_module", None)


def test_a_run_of_both_with_their_yaml_beside_the_module(own, settings):
    report = run_unlearn(
        model="OwnModel",
        dataset="tiny",
        config_dict={**settings, "forget_type": "random", "unlearn_methods": ["OwnMethod", "UnlearnRec"]},
    )
    assert [row["method"] for row in report["results"]] == ["original", "OwnMethod", "UnlearnRec", "UnlearnRec"]
    assert (report["config"]["own_hop_weight"], report["config"]["unlearn_own_factor"]) == (0.5, 0.5)


def test_their_settings_are_known_and_others_still_refused(own, configure):
    assert configure(unlearn_methods="OwnMethod", unlearn_own_factor=0.25)["unlearn_own_factor"] == 0.25
    with pytest.raises(UsageError, match="Did you mean 'unlearn_own_factor'"):
        configure(unlearn_methods="OwnMethod", unlearn_own_factr=0.25)
    assert configure("OwnModel", own_hop_weight=0.25).for_model("LightGCN")["own_hop_weight"] == 0.25
    assert configure("OwnModel", temperature=1).unread() == [], "nobody knows what it reads"
    with pytest.raises(UsageError, match="Did you mean 'own_hop_weight'"):
        configure("OwnModel", own_hop_wieght=0.25)


def test_its_settings_for_one_backbone_win(own, tmp_path, configure):
    (tmp_path / "OwnMethod-SGL.yaml").write_text("unlearn_own_factor: 0.75\n")
    factors = {
        model: configure(model, unlearn_methods="OwnMethod")["unlearn_own_factor"] for model in ("LightGCN", "SGL")
    }
    assert factors == {"LightGCN": 0.5, "SGL": 0.75}


@pytest.fixture
def declared(own, tmp_path):
    """The module with declarations and without yaml; returns the folder for one."""
    for name in NAMES:
        (tmp_path / f"{name}.yaml").unlink()
    own(DECLARED)
    return tmp_path


def test_declared_settings_need_no_yaml(declared, settings):
    changes = {"forget_type": "random", "unlearn_methods": "OwnMethod", "epochs": 1, "n_layers": 0}
    report = run_unlearn("OwnModel", "tiny", config_dict={**settings, **changes})
    assert (report["config"]["own_hop_weight"], report["config"]["unlearn_own_factor"]) == (0.5, 0.5)
    assert report["config"]["n_layers"] == 0, "its declaration wins over LightGCN's, which needs a layer"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"unlearn_own_factr": 0.1}, "Unknown setting 'unlearn_own_factr'. Did you mean 'unlearn_own_factor'?"),
        ({"own_hop_wieght": 0.1}, "Unknown setting 'own_hop_wieght'. Did you mean 'own_hop_weight'?"),
        ({"unlearn_own_factor": 2}, "Setting 'unlearn_own_factor' must be a share in (0, 1], not 2."),
        ({"unlearn_own_factor": "half"}, "Setting 'unlearn_own_factor' must be a share in (0, 1], not 'half'."),
        ({"unlearn_own_rounds": True}, "Setting 'unlearn_own_rounds' must be a whole number >= 1, not True."),
        ({"unlearn_own_rounds": 2.0}, "Setting 'unlearn_own_rounds' must be a whole number >= 1, not 2.0."),
        ({"own_hop_weight": 0}, "Setting 'own_hop_weight' must be a share in (0, 1], not 0."),
        ({"n_layers": -1}, "Setting 'n_layers' must be a whole number >= 0, not -1."),
    ],
)
def test_names_and_values_of_declared_settings_are_checked(declared, settings, changes, message):
    with pytest.raises(UsageError) as error:
        run_unlearn("OwnModel", "tiny", config_dict={**settings, "unlearn_methods": "OwnMethod", **changes})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_yaml_beside_the_module_wins_over_the_declaration_and_is_checked_too(declared, configure):
    (declared / "OwnMethod.yaml").write_text("unlearn_own_factor: 0.25\nunlearn_own_undeclared: 1\n")
    config = configure(unlearn_methods="OwnMethod")
    found = [config[f"unlearn_own_{name}"] for name in ("factor", "rounds", "undeclared")]
    assert found == [0.25, 3, 1] and list(method_defaults("OwnMethod").values()) == found
    (declared / "OwnMethod.yaml").write_text("unlearn_own_factor: 25\n")
    with pytest.raises(UsageError, match="'unlearn_own_factor' must be a share"):
        configure(unlearn_methods="OwnMethod")


def test_a_declared_setting_without_a_default_is_to_be_given(own, configure):
    own(DECLARED.replace("Count = setting(3, ", "Count = setting(..., "))
    (Path(sys.modules["own_module"].__file__).with_name("OwnMethod.yaml")).unlink()
    assert configure(unlearn_methods="OwnMethod", unlearn_own_rounds=2)["unlearn_own_rounds"] == 2
    with pytest.raises(UsageError, match="'unlearn_own_rounds' is missing: it has no default, so give it a value"):
        configure(unlearn_methods="OwnMethod")


def test_a_model_without_negative_items_is_not_fine_tuned(own, settings):
    loss = "    def model_loss(self, interaction, ego, final, views):\n        return final.square().mean()\n\n"
    forward = "    def forward(self, ego, adjacency):\n"
    own(SOURCE.replace("PAIRWISE", "POINTWISE").replace(forward, loss + forward))
    settings |= {"epochs": 1, "forget_type": "random", "unlearn_methods": "UnlearnRec", "train_neg_sample_args": None}
    with pytest.raises(
        UsageError, match="UnlearnRec trains on pairs with a negative item, which OwnModel does without"
    ):
        run_unlearn("OwnModel", "tiny", config_dict=settings, saved=False)
    report = run_unlearn("OwnModel", "tiny", config_dict={**settings, "unlearn_finetune_epochs": 0}, saved=False)
    assert [row["stage"] for row in report["results"]] == ["", "zero-shot"]


def test_models_of_a_run_of_an_own_method_are_served_without_it(own, settings):
    run_unlearn("LightGCN", "tiny", config_dict={**settings, "unlearn_methods": ["OwnMethod", "DropEdges"]})
    unregister()
    (file,) = Path(settings["checkpoint_dir"]).glob("original-*.safetensors")
    assert load_data_and_model(str(file))[0]["unlearn_own_factor"] == 0.5
    result = unlearn(str(file), [DeletionRequest("r", [("user", "u1", None)])])
    assert result["version"] == 2 and not result["failed_checks"]


def test_its_settings_can_be_swept(own, tmp_path):
    assert method_defaults("OwnMethod") == {"unlearn_own_factor": 0.5, "unlearn_own_rounds": 3}
    assert with_whole_numbers({"unlearn_own_rounds": 4.0, "unlearn_own_factor": 1.0}) == {
        "unlearn_own_rounds": 4,
        "unlearn_own_factor": 1.0,
    }
    (tmp_path / "OwnMethod.yaml").unlink()
    assert method_defaults("OwnMethod") == {}


@pytest.mark.parametrize(
    "changed",
    [("ego + self", "ego - self"), ("import torch\n", "import torch\n\nHELPS = 1\n")],
    ids=["class", "module"],
)
def test_a_training_of_other_source_is_made_anew_and_one_line_says_so(own, configure, caplog, changed):
    caplog.set_level("INFO")
    files, codes = [], []
    for text in (SOURCE, SOURCE.replace(*changed), SOURCE):
        own(text)
        config = configure("OwnModel")
        files.append(train_backbone(config, prepare_data(config).train, "original").file)
        codes.append(software_versions(config)["code"])
    assert files[0] == files[2] != files[1] and codes[0] == codes[2] != codes[1]
    said = [line for line in caplog.messages if "rain" in line and ".pth" in line]
    assert len(said) == 2 and said[0].endswith(f"other code, other libraries or another machine made {files[0]}")
    assert "Trained before" in said[1] and files[0] in said[1]


@pytest.mark.parametrize("of", ["torch.__version__", "torch.get_num_threads", "recbole.__version__", "loss.py"])
def test_other_libraries_threads_and_shipped_code_are_another_training(configure, monkeypatch, tmp_path, of):
    config = configure()
    train = prepare_data(config).train
    first = train_backbone(config, train, "original").file
    if of == "loss.py":
        shutil.copytree(code.PACKAGE, tmp_path / "other", ignore=shutil.ignore_patterns("__pycache__"))
        with (tmp_path / "other" / of).open("a") as file:
            file.write("# changed\n")
        monkeypatch.setattr(code, "PACKAGE", tmp_path / "other")
        monkeypatch.setattr(code, "_shipped_code", code._shipped_code.__wrapped__)
    else:
        monkeypatch.setattr(of, (lambda: 77) if "threads" in of else "0.0")
    assert train_backbone(config, train, "original").file != first


def test_shipped_classes_have_no_source_of_the_users(own):
    assert not any(own_sources(MODELS[name]) for name in ("BPR", "LightGCN", "SGL", "SimGCL"))
    assert own_sources(MODELS["OwnDeepModel"]) == [SOURCE], "its module's, once"


def test_what_trains_more_than_a_table_is_refused(own, settings):
    with pytest.raises(
        UsageError, match="OwnDeepModel cannot be unlearned: it trains transform.weight, transform.bias besides"
    ):
        run_unlearn(model="OwnDeepModel", dataset="tiny", config_dict=settings)


def test_a_worker_gets_to_know_them(own):
    models, methods = MODELS.own(["OwnModel", "LightGCN"]), METHODS.own(["OwnMethod", "GIF"])
    assert [cls.__name__ for cls in models + methods] == ["OwnModel", "OwnMethod"]
    unregister()
    worker.begin(1, models, methods)
    assert MODELS["OwnModel"] is models[0] and METHODS["OwnMethod"] is methods[0]


def test_a_part_of_the_loss_takes_what_the_loss_gives_it():
    with pytest.raises(
        UsageError, match=r"Old must define self_supervised_loss\(self, ego, final, occurrences, views\)"
    ):

        class Old(UnlearnableRecommender):
            def self_supervised_loss(self, ego, occurrences, views):
                return 0.0

    class Open(UnlearnableRecommender):
        def self_supervised_loss(self, ego, *others):
            return 0.0

    assert Open.self_supervised_loss


def test_the_command_line_imports_them(own, settings, tmp_path, capsys):
    given = [f"--data_path={settings['data_path']}", "--epochs=1", "--gpu_id=", "--embedding_size=8"]
    unregister()
    sys.modules.pop("own_module", None)
    with pytest.raises(SystemExit):
        main(["--model=OwnModel", "--dataset=tiny", *given])
    assert "Unknown model 'OwnModel'" in (error := capsys.readouterr().err) and "--import=FILE.py" in error
    file = str(tmp_path / "own_module.py")
    main([f"--import={file}", "--model=OwnModel", "--dataset=tiny", "--unlearn_methods=OwnMethod", *given])
    assert MODELS["OwnModel"].__module__ == "own_module"


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("gone.py", None, "there is no Python file"),
        ("notes.txt", "", "there is no Python file"),
        ("broken.py", "x = 1\ny = z", "NameError: name 'z' is not defined (" + "{folder}/broken.py, line 2)"),
        ("syntax.py", "x = 1\ny = = 2", "SyntaxError: invalid syntax (syntax.py, line 2) ({folder}/syntax.py, line 2)"),
        ("ends.py", "x = 1\nraise SystemExit(0)", "it ends the program ({folder}/ends.py, line 2): put what is no"),
        ("a.b.py", "", "the name of a module has no dot: rename the file"),
        ("json.py", "", "another module has the name 'json': rename the file"),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path, monkeypatch, capsys, name, text, message):
    monkeypatch.setattr(sys, "path", sys.path[:])
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as ended:
        main([f"--import={tmp_path / name}", "--model=LightGCN", "--dataset=tiny"])
    assert ended.value.code == 2 and message.format(folder=tmp_path) in capsys.readouterr().err


CHANGES_NO_NUMBER = {"cost", "digest", "display", "errors", "process_group", "registry", "settings", "torchrun"}


def test_every_module_that_a_training_imports_counts_as_its_code():
    """A checkpoint of other mathematics is no result of today's code."""
    files = {file for place in code.TRAINS for file in (code.PACKAGE / place, *(code.PACKAGE / place).glob("*.py"))}
    sources = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    imported = set(re.findall(r"from recbole_unlearn\.(\w+) import", sources))
    modules = {name for name in imported if (code.PACKAGE / f"{name}.py").exists()}
    assert modules - set(code.MODULES) == CHANGES_NO_NUMBER
