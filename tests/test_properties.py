"""The shipped yaml: it loads, it says what each setting is, and it fits the registries."""

import re
from itertools import product

import pytest
import yaml

from recbole_unlearn.config import Config, properties_folder
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.validation import check_value

FILES = sorted(properties_folder().rglob("*.yaml"))
TYPES = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "list": (list,), "dict": (dict,)}
COMMENT = re.compile(r"\s# \((\w+(?: or \w+)*)\) \S.*\.$")


def shipped(registry):
    return [name for name in registry if registry[name].__module__.startswith("recbole_unlearn.")]


def named_pairs(names):
    return [f"{name}-{model}" for name in names for model in shipped(MODELS)]


def name_of(path):
    return str(path.relative_to(properties_folder()))


def test_there_is_yaml():
    assert "overall.yaml" in map(name_of, FILES) and len(FILES) > 6


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_setting_has_a_comment_of_its_type_and_meaning(path):
    values = yaml.safe_load(path.read_text()) or {}
    keys = []
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith(("#", " ")):
            continue
        key, _, rest = line.partition(":")
        keys.append(key)
        comment = COMMENT.search(rest)
        assert comment, line
        types = [type_ for name in comment[1].split(" or ") for type_ in TYPES[name]]
        assert values[key] is None or type(values[key]) in types, line
        check_value(key, values[key])
    assert sorted(keys) == sorted(values) and len(set(keys)) == len(keys)


@pytest.mark.parametrize("folder, registry", [("model", MODELS), ("method", METHODS)])
def test_every_file_belongs_to_a_class_and_every_class_has_its_file(folder, registry):
    of_a_model = named_pairs(shipped(registry))  # wins over its method's file
    stems = [path.stem for path in FILES if path.parent.name == folder]
    assert sorted(stem for stem in stems if stem not in of_a_model) == shipped(registry)


BY_DATASET = [path.stem for path in FILES if path.parent.name == "dataset"]
OF_A_MODEL = named_pairs(BY_DATASET)  # wins over its dataset's file
DATASETS = ["ml-100k", *(name for name in BY_DATASET if name not in OF_A_MODEL)]


@pytest.mark.parametrize("model, dataset", list(product(shipped(MODELS), DATASETS)))
def test_defaults_make_a_configuration(model, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config(model, dataset, config_dict={"unlearn_methods": "all", "gpu_id": ""})
    served = [name for name in shipped(METHODS) if issubclass(MODELS[model], METHODS[name].serves)]
    methods = [f"method/{name}{ending}" for name in served for ending in ("", f"-{model}")]
    expected = {}
    for name in ["overall", f"model/{model}", *methods, f"dataset/{dataset}", f"dataset/{dataset}-{model}"]:
        path = properties_folder() / f"{name}.yaml"
        expected.update(yaml.load(path.read_text(), Loader=config.yaml_loader) or {} if path.exists() else {})
    served = [name for name in METHODS if issubclass(MODELS[model], METHODS[name].serves)]
    assert sorted(config["unlearn_methods"]) == served and expected.pop("unlearn_methods")
    assert {key: config[key] for key in expected} == expected


def test_method_settings_are_prefixed():
    for path in FILES:
        if path.parent.name == "method":
            assert all(key.startswith(("ie_", "unlearn_")) for key in yaml.safe_load(path.read_text()) or {}), path
