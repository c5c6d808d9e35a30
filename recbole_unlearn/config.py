"""RecBole's configuration plus the plugin's models, methods and yaml."""

import ast
import copy
import os
import re
import warnings
from importlib.resources import files
from pathlib import Path

import yaml
from recbole.config import Config as RecBoleConfig
from recbole.evaluator import metric_types
from recbole.utils import EvaluatorType, general_arguments, training_arguments

from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.evaluator import register_metrics
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.registry import own_yaml
from recbole_unlearn.validation import check_values

PREFIXES = ("forget_", "unlearn_", "ie_")
STORE_PREFIXES = ("unlearn_quarantine_", "unlearn_retrain_")  # of deletion requests against a saved model alone
DERIVED = {  # what RecBole adds to the settings by itself
    "MODEL_TYPE",
    "MODEL_INPUT_TYPE",
    "device",
    "eval_type",
    "local_rank",
    "single_spec",
    "test_neg_sample_args",
    "valid_neg_sample_args",
}

register_metrics()  # RecBole looks metrics up while a Config is being built


def properties_folder():
    """Where the plugin's yaml lies: inside the installed package, or at the top level of a checkout."""
    installed = Path(str(files("recbole_unlearn"))) / "properties"
    return installed if installed.is_dir() else installed.parent.parent / "properties"


def method_yaml(method):
    """The file of a method's settings: a user's own method has it beside its module."""
    return own_yaml(METHODS[method]) or properties_folder() / "method" / f"{method}.yaml"


def results_settings(settings):
    """The settings that a run's rows depend on: all but the machine's and the deletion store's.

    Args:
        settings (dict): of :meth:`Config.as_dict`.
    """
    of_the_machine = set(general_arguments) - {"seed"} | {"eval_batch_size"}  # what suits its memory: scores are the same
    ignored = of_the_machine | {"config_files", "report_file"}
    return {key: value for key, value in settings.items() if key not in ignored and not key.startswith(STORE_PREFIXES)}


def agree(settings, others):
    """Whether two dicts of settings say the same of every key that both have."""
    return all(settings[key] == others[key] for key in settings.keys() & others.keys())


class Config(RecBoleConfig):
    """RecBole's Config for an unlearnable model.

    The yaml of the plugin comes after RecBole's own and before the user's, in the order overall, model, each of
    ``unlearn_methods`` followed by method and model, dataset, dataset and model; that of a model or method of the user's own
    lies beside its module.
    The command line is parsed by ``run_unlearn.py``, not here, so that tests and workers with arguments of their own can
    build a Config.

    Args:
        model (str): name of a registered backbone.
        dataset (str): name of the dataset.
        config_file_list (list of str): yaml files.
        config_dict (dict): settings that win over the files; strings are read as Python literals where they are some.

    Raises:
        UsageError: unknown model, method, metric or prefixed key, a missing or broken file, a value out of range.
    """

    def __init__(self, model=None, dataset=None, config_file_list=None, config_dict=None):
        try:
            super().__init__(model, dataset, config_file_list, copy.deepcopy(config_dict or {}))  # RecBole changes it
        except UsageError:
            raise
        except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError) as error:
            raise UsageError(f"RecBole refuses these settings: {' '.join(str(error).split())}") from error
        self._check_prefixed_keys()

    def replace(self, **changes):
        """A copy with some settings changed, e.g. the encoder's learning rate in the place of the backbone's."""
        config = copy.copy(self)
        config.final_config_dict = {**self.final_config_dict, **changes}
        return config

    def for_model(self, model):
        """Another backbone as it is shipped, on the same data: the user's settings of training and of models are left out."""
        files = (properties_folder() / "model").glob("*.yaml")
        own = set(training_arguments).union(*map(self._read_yaml, files))
        shared = {key: value for key, value in self.external_config_dict.items() if key not in own}
        config = type(self)(model, self.dataset, config_dict=copy.deepcopy(shared))
        return config.replace(device=self["device"], checkpoint_dir=self["checkpoint_dir"])

    def as_dict(self):
        """All settings as plain data (numbers, strings, lists, dicts), fit for JSON and for ``config_dict``."""
        settings = {key: _plain(value) for key, value in sorted(self.final_config_dict.items()) if key not in DERIVED}
        return {**settings, "data_path": os.path.dirname(settings["data_path"])}  # RecBole appended the dataset's name

    def training_settings(self):
        """The settings that a backbone's training depends on: all but the machine's and the plugin's own."""
        return {key: value for key, value in self.results_settings().items() if not key.startswith(PREFIXES)}

    def same_results(self, settings):
        """Whether a run under other settings (of :meth:`as_dict`) has the same rows for the methods in both."""
        return agree(self.results_settings(), {**settings, "unlearn_methods": self["unlearn_methods"]})

    def results_settings(self):
        """The settings that a run's rows depend on; see :func:`results_settings`."""
        return results_settings(self.as_dict())

    def _load_config_files(self, file_list):
        merged = {}
        for file in file_list or []:
            merged.update(self._read_yaml(file))
        return merged

    def _load_cmd_line(self):
        return {}

    def _convert_config_dict(self, config_dict):
        """Strings that are Python literals become their values; unlike RecBole, nothing is executed."""
        for key, value in config_dict.items():
            if isinstance(value, str):
                config_dict[key] = _literal(value)
        return config_dict

    def _get_model_and_dataset(self, model, dataset):
        model = model or self.external_config_dict.get("model")
        dataset = dataset or self.external_config_dict.get("dataset")
        if model is None or dataset is None:
            missing = "model" if model is None else "dataset"
            raise UsageError(f"No {missing} given: use --{missing}=NAME or set `{missing}` in a config file.")
        return super()._get_model_and_dataset(MODELS[model] if isinstance(model, str) else model, str(dataset))

    def _load_internal_config_dict(self, model, model_class, dataset):
        super()._load_internal_config_dict(model, model_class, dataset)
        folder = properties_folder()
        self._update_if_there(folder / "overall.yaml")
        self._update_if_there(own_yaml(model_class) or folder / "model" / f"{model}.yaml")
        for method in self._chosen_methods():
            file = method_yaml(method)
            self._update_if_there(file)
            self._update_if_there(file.with_stem(f"{method}-{model}"))
        self._update_if_there(folder / "dataset" / f"{dataset}.yaml")
        self._update_if_there(folder / "dataset" / f"{dataset}-{model}.yaml")

    def _update_if_there(self, file):
        if file.is_file():
            self.internal_config_dict.update(self._read_yaml(file))

    def _chosen_methods(self):
        chosen = self.external_config_dict.get("unlearn_methods", self.internal_config_dict.get("unlearn_methods"))
        if chosen == "all":
            chosen = list(METHODS)
        if isinstance(chosen, str):
            chosen = [name.strip() for name in chosen.split(",") if name.strip()]
        if not isinstance(chosen, (list, tuple)) or not chosen:
            raise UsageError(f"Setting 'unlearn_methods' must name methods or be `all`, not {chosen!r}.")
        return [METHODS[name].__name__ for name in chosen]

    def _get_final_config_dict(self):
        final = super()._get_final_config_dict()
        final["unlearn_methods"] = self._chosen_methods()
        metrics = final["metrics"] if isinstance(final["metrics"], list) else [final["metrics"]]
        for metric in metrics:
            if metric_types.get(str(metric).lower()) != EvaluatorType.RANKING:
                ranking = [name for name, kind in metric_types.items() if kind == EvaluatorType.RANKING]
                raise unknown("metric", metric, ranking)
        check_values(final)
        return final

    def _check_prefixed_keys(self):
        known = {key for file in properties_folder().rglob("*.yaml") for key in self._read_yaml(file)}
        known |= set(self.internal_config_dict)
        for key in self.external_config_dict:
            if key.startswith(PREFIXES) and key not in known:
                raise unknown("setting", key, [k for k in known if k.startswith(PREFIXES)])

    def _read_yaml(self, file):
        try:
            content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=self.yaml_loader)
        except FileNotFoundError:
            raise UsageError(f"Config file '{file}' does not exist.") from None
        except yaml.YAMLError as error:
            raise UsageError(f"Config file '{file}' is not valid yaml: {' '.join(str(error).split())}") from None
        if not isinstance(content or {}, dict):
            raise UsageError(f"Config file '{file}' must hold `key: value` lines.")
        return content or {}


def _literal(text):
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "seed-7.inter" is no number, and no reason to warn
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return re.sub(r"^\w+\.", "", str(value))  # enums by their name, devices by theirs
