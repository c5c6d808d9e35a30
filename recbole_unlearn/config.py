"""RecBole's configuration plus the plugin's models, methods and yaml."""

import copy
import os
import re
from logging import getLogger

from recbole.config import Config as RecBoleConfig
from recbole.evaluator import metric_types
from recbole.utils import EvaluatorType, general_arguments, training_arguments

from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.evaluator import register_metrics
from recbole_unlearn.files.yaml_file import Loader, read_yaml
from recbole_unlearn.known_settings import (
    ARGUMENTS,
    NAMED,
    PREFIXES,
    RECBOLE_READS,
    check_names,
    check_nested,
    contradictions,
    properties_folder,
)
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.registry import own_yaml
from recbole_unlearn.text_settings import IDENTIFIERS, identifiers, read_value
from recbole_unlearn.validation import check_values

STORE_PREFIXES = (
    "unlearn_quarantine_",
    "unlearn_retrain_",
    "unlearn_grace_",
)  # of deletion requests against a saved model alone
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


def method_yaml(method):
    """The file of a method's settings: a user's own method has it beside its module."""
    return own_yaml(METHODS[method]) or properties_folder() / "method" / f"{method}.yaml"


def results_settings(settings):
    """The settings that a run's rows depend on: all but the machine's and the deletion store's.

    Args:
        settings (dict): of :meth:`Config.as_dict`.
    """
    of_the_machine = set(general_arguments) - {"seed"} | {
        "eval_batch_size"
    }  # what suits its memory: scores are the same
    ignored = of_the_machine | {"config_files", "report_file", "train_file"}
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
        config_dict (dict): settings that win over the files; strings are read as Python literals where they are some,
            but names, paths and identifiers stay text.
        stored (dict): settings of an earlier Config as plain data, e.g. of a model file; they win over the files, and
            are taken as they are, whoever's they were.

    Raises:
        UsageError: unknown model, method, metric or setting, a missing or broken file, a value out of range, or a
            request that ``forget_type`` does not read.
    """

    def __init__(self, model=None, dataset=None, config_file_list=None, config_dict=None, stored=None):
        self._stored = copy.deepcopy(stored or {})
        try:
            super().__init__(model, dataset, config_file_list, copy.deepcopy(config_dict or {}))  # RecBole changes it
        except UsageError:
            raise
        except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError) as error:
            raise UsageError(f"RecBole refuses these settings: {' '.join(str(error).split())}") from error

    def replace(self, **changes):
        """A copy with some settings changed, e.g. the encoder's learning rate in the place of the backbone's."""
        config = copy.copy(self)
        config.final_config_dict = {**self.final_config_dict, **changes}
        return config

    def for_model(self, model):
        """Another backbone as it is shipped, on the same data: the user's settings of training and of models are left out."""
        files = (properties_folder() / "model").glob("*.yaml")
        own = set(training_arguments).union(*map(read_yaml, files))
        shared = {key: value for key, value in self.external_config_dict.items() if key not in own}
        config = type(self)(model, self.dataset, stored=shared)
        return config.replace(device=self["device"], checkpoint_dir=self["checkpoint_dir"])

    def as_dict(self):
        """All settings as plain data (numbers, strings, lists, dicts), fit for JSON and for ``config_dict``."""
        settings = {key: _plain(value) for key, value in sorted(self.final_config_dict.items()) if key not in DERIVED}
        if settings["train_neg_sample_args"]["distribution"] == "none":  # RecBole writes so what it reads as None alone
            settings["train_neg_sample_args"] = None
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

    def unread(self):
        """The settings that the user gives but that neither this model nor these methods have, a list.

        Of a user's own class nobody knows what it reads: the list is empty then.
        """
        if MODELS.own([self["model"]]) or METHODS.own(self["unlearn_methods"]):
            return []
        given = {**self.file_config_dict, **self.variable_config_dict}
        known = {*self.internal_config_dict, *RECBOLE_READS, *ARGUMENTS}
        return sorted(name for name in given if name not in known)

    def _build_yaml_loader(self):
        return Loader

    def _load_config_files(self, file_list):
        merged = {}
        for file in file_list or []:
            settings = read_yaml(file)
            try:
                check_names(settings)
                merged |= settings | {key: identifiers(key, settings[key]) for key in IDENTIFIERS if key in settings}
            except UsageError as error:
                raise UsageError(f"Config file '{file}': {error}") from None
        return merged

    def _load_cmd_line(self):
        return {}

    def _convert_config_dict(self, config_dict):
        """Strings that are Python literals become their values; unlike RecBole, nothing is executed."""
        check_names(config_dict)
        return {key: read_value(key, value) for key, value in config_dict.items()}

    def _merge_external_config_dict(self):
        self.external_config_dict = {**self.file_config_dict, **self._stored, **self.variable_config_dict}

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
            if method not in METHODS:
                continue
            file = method_yaml(method)
            self._update_if_there(file)
            self._update_if_there(file.with_stem(f"{method}-{model}"))
        self._update_if_there(folder / "dataset" / f"{dataset}.yaml")
        self._update_if_there(folder / "dataset" / f"{dataset}-{model}.yaml")

    def _set_default_parameters(self):
        """As in RecBole, which takes its own ml-100k for a user's and loads no ids of other names."""
        final, given = self.final_config_dict, self.external_config_dict
        own = os.path.join(str(given.get("data_path") or ""), self.dataset)
        super()._set_default_parameters()
        if given.get("data_path") and os.path.isfile(os.path.join(own, f"{self.dataset}.inter")):
            final["data_path"] = own
        if "load_col" not in given and final["load_col"] == {"inter": ["user_id", "item_id"]}:  # RecBole's default
            final["load_col"] = {"inter": [final["USER_ID_FIELD"], final["ITEM_ID_FIELD"]]}

    def _update_if_there(self, file):
        if file.is_file():
            self.internal_config_dict.update(read_yaml(file))

    def _chosen_methods(self):
        chosen = self.external_config_dict.get("unlearn_methods", self.internal_config_dict.get("unlearn_methods"))
        if chosen == "all":
            chosen = list(METHODS)
        if isinstance(chosen, str):
            chosen = [name.strip() for name in chosen.split(",") if name.strip()]
        if not isinstance(chosen, (list, tuple)) or not chosen:
            raise UsageError(f"Setting 'unlearn_methods' must name methods or be `all`, not {chosen!r}.")
        if "unlearn_methods" in self._stored and "unlearn_methods" not in self.variable_config_dict:
            return list(chosen)  # a user's own method is not there where its run's models are served
        return [METHODS[name].__name__ for name in chosen]

    def _get_final_config_dict(self):
        final = super()._get_final_config_dict()
        final["unlearn_methods"] = self._chosen_methods()
        metrics = final["metrics"] if isinstance(final["metrics"], list) else [final["metrics"]]
        for metric in metrics:
            if metric_types.get(str(metric).lower()) != EvaluatorType.RANKING:
                ranking = [name for name, kind in metric_types.items() if kind == EvaluatorType.RANKING]
                raise unknown("metric", metric, ranking)
        if final["use_gpu"] == 0:  # RecBole has the setting and does not look at it
            final["gpu_id"] = ""
        check_nested({**self.file_config_dict, **self.variable_config_dict})
        check_values(final)
        self._check_request(final["forget_type"])
        return final

    def _check_request(self, forget_type):
        """Refuse tokens or a file that this kind of request does not read; those of an overruled config file are logged."""
        overruled = "forget_type" in {**self._stored, **self.variable_config_dict}
        for name in contradictions({**self.file_config_dict, **self.variable_config_dict}, forget_type):
            if not overruled or name in self.variable_config_dict:
                raise UsageError(
                    f"Setting '{name}' needs forget_type '{NAMED[name]}', not '{forget_type}': change one."
                )
            getLogger().warning(f"Setting '{name}' of a config file is not used: forget_type is '{forget_type}'.")


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return re.sub(r"^\w+\.", "", str(value))  # enums by their name, devices by theirs
