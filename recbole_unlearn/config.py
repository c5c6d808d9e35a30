"""RecBole's configuration plus the plugin's models, methods and yaml."""

import copy
import os
import re
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.config import Config as RecBoleConfig
from recbole.evaluator import metric_types
from recbole.utils import EvaluatorType, general_arguments, training_arguments

from recbole_unlearn.declarations import Overall
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.evaluator import register_metrics
from recbole_unlearn.evaluator.recbole_metrics import own_metrics, register_metric
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
from recbole_unlearn.settings import Settings, defaults
from recbole_unlearn.streams import stream_seed
from recbole_unlearn.text_settings import IDENTIFIERS, read_value
from recbole_unlearn.torchrun import torchrun_size
from recbole_unlearn.validation import check_values

# Only deletion requests against a saved model read them.
STORE_PREFIXES = ("unlearn_quarantine_", "unlearn_retrain_", "unlearn_grace_", "unlearn_exact_")
DERIVED = {  # RecBole adds these to the settings
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


def class_yaml(kind: str, cls: type[Any]) -> Path:
    """The yaml of a backbone (``kind`` is model) or method; that of a user's own class lies beside its module."""
    return own_yaml(cls) or properties_folder() / kind / f"{cls.__name__}.yaml"


def method_defaults(method: str) -> dict[str, Any]:
    """The settings of a method: those that it declares, and those of its yaml, which win."""
    return _shipped_values(METHODS[method].settings, class_yaml("method", METHODS[method]))


def _shipped_values(declaration, file):
    return defaults(declaration) | (read_yaml(file) if file.is_file() else {})


def results_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run's rows depend on: all but the machine's and the deletion store's.

    Args:
        settings: of :meth:`Config.as_dict`.
    """
    # The size of a batch of scores suits the machine's memory and changes no score; a sequence has rows of its own.
    others = {"eval_batch_size", "config_files", "report_file", "train_file", "unlearn_sequence"}
    others |= {"unlearn_workers", "nproc", "ray_address"}
    ignored = set(general_arguments) - {"seed"} | others
    return {key: value for key, value in settings.items() if key not in ignored and not key.startswith(STORE_PREFIXES)}


def agree(settings: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether two dicts of settings have equal values for every key that both have."""
    return all(settings[key] == others[key] for key in settings.keys() & others.keys())


class Config(RecBoleConfig):
    """RecBole's Config for an unlearnable model.

    The plugin's settings come after RecBole's and before the user's, in this order: overall, model, each of
    ``unlearn_methods`` (first method, then method and model), dataset, dataset and model; each as declared, and then
    from its yaml. The yaml of a user's own model or method lies beside its module.

    ``run_unlearn.py`` parses the command line, not this class, so that tests and workers with their own arguments can
    build a Config.

    Args:
        model: name of a registered backbone.
        dataset: name of the dataset.
        config_file_list: yaml files.
        config_dict: settings that win over the files; a string that is a Python literal becomes its value, but names,
            paths and identifiers stay text.
        stored: settings of an earlier Config as plain data, e.g. of a model file; they win over the files, and nothing
            checks their names.

    Raises:
        UsageError: a model, method, metric or setting is unknown, a file is missing or broken, a value is out of range,
            or ``forget_type`` does not read the request.
    """

    def __init__(
        self,
        model: str | None = None,
        dataset: str | None = None,
        config_file_list: Sequence[str] | None = None,
        config_dict: Mapping[str, Any] | None = None,
        stored: Mapping[str, Any] | None = None,
    ):
        self._stored = copy.deepcopy(stored or {})
        try:
            super().__init__(model, dataset, config_file_list, copy.deepcopy(config_dict or {}))  # RecBole changes it
        except UsageError:
            raise
        except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError) as error:
            raise UsageError(f"RecBole refuses these settings: {' '.join(str(error).split())}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "own_metrics": [*own_metrics(self["metrics"]).values()]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process, which does not know a user's own metrics: register them."""
        for metric in state.pop("own_metrics"):
            register_metric(metric)
        self.__dict__.update(state)

    def replace(self, **changes: Any) -> "Config":
        """A copy with some settings changed, e.g. the encoder's learning rate in the place of the backbone's."""
        config = copy.copy(self)
        config.final_config_dict = {**self.final_config_dict, **changes}
        return config

    def stream(self, *purpose: str | int) -> "Config":
        """A copy for one purpose, whose seed gives a random stream of its own; see :mod:`recbole_unlearn.streams`."""
        return self.replace(seed=stream_seed(self["seed"], *purpose))

    def for_model(self, model: str) -> "Config":
        """Another backbone's shipped settings on the same data, without the user's settings of training and models."""
        own = set(training_arguments).union(*(MODELS[name].settings.model_fields for name in MODELS.shipped()))
        own -= {"load_col", "eval_args"}  # of the data, though an ordered model has defaults of its own
        shared = {key: value for key, value in self.external_config_dict.items() if key not in own}
        config = type(self)(model, self.dataset, stored=shared)
        return config.replace(**{key: self[key] for key in ("device", "checkpoint_dir", "seed")})

    def as_dict(self) -> dict[str, Any]:
        """All settings as plain data (numbers, strings, lists, dicts), fit for JSON and for ``config_dict``."""
        settings = {key: _plain(value) for key, value in sorted(self.final_config_dict.items()) if key not in DERIVED}
        if settings["train_neg_sample_args"]["distribution"] == "none":  # RecBole writes this, but reads only None
            settings["train_neg_sample_args"] = None
        return {**settings, "data_path": os.path.dirname(settings["data_path"])}  # RecBole appended the dataset's name

    def training_settings(self) -> dict[str, Any]:
        """The settings that a backbone's training depends on: all but the machine's and the plugin's own."""
        return {key: value for key, value in self.results_settings().items() if not key.startswith(PREFIXES)}

    def same_results(self, settings: Mapping[str, Any]) -> bool:
        """Whether a run with other settings (of :meth:`as_dict`) has the same rows for the methods of both."""
        return agree(self.results_settings(), {**settings, "unlearn_methods": self["unlearn_methods"]})

    def results_settings(self) -> dict[str, Any]:
        """The settings that a run's rows depend on; see :func:`results_settings`."""
        return results_settings(self.as_dict())

    def unread(self) -> list[str]:
        """The settings that the user gives but that neither this model nor these methods have.

        The list is empty with a user's own class, because nobody knows what it reads.
        """
        if MODELS.own([self["model"]]) or METHODS.own(self["unlearn_methods"]):
            return []
        given = {**self.file_config_dict, **self.variable_config_dict}
        known = {*self.internal_config_dict, *RECBOLE_READS, *ARGUMENTS}
        return sorted(name for name in given if name not in known)

    def _build_yaml_loader(self):
        return Loader

    def _load_config_files(self, file_list):
        merged: dict[str, Any] = {}
        for file in file_list or []:
            settings = read_yaml(file)
            try:
                check_names(settings)
                merged |= settings | {key: read_value(key, settings[key]) for key in IDENTIFIERS if key in settings}
            except UsageError as error:
                raise UsageError(f"Config file '{file}': {error}") from None
        return merged

    def _load_cmd_line(self):
        return {}

    def _convert_config_dict(self, config_dict):
        """Replace strings that are Python literals by their values; unlike RecBole's, this executes nothing."""
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
        self._add(folder / "overall.yaml", Overall)
        self._add(class_yaml("model", model_class), model_class.settings)
        for method in self._method_classes():
            file = class_yaml("method", method)
            self._add(file, method.settings)
            self._add(file.with_stem(f"{method.__name__}-{model}"))
        self._add(folder / "dataset" / f"{dataset}.yaml")
        self._add(folder / "dataset" / f"{dataset}-{model}.yaml")

    def _set_default_parameters(self):
        """Mend RecBole's defaults, which prefer its own ml-100k to a user's and load no ids of other names."""
        final, given = self.final_config_dict, self.external_config_dict
        own = os.path.join(str(given.get("data_path") or ""), self.dataset)
        super()._set_default_parameters()
        if given.get("data_path") and os.path.isfile(os.path.join(own, f"{self.dataset}.inter")):
            final["data_path"] = own
        fields = [final[name] for name in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD")]
        for columns in (["user_id", "item_id"], ["user_id", "item_id", "timestamp"]):  # RecBole's, an ordered model's
            if "load_col" not in given and final["load_col"] == {"inter": columns}:
                final["load_col"] = {"inter": fields[: len(columns)]}
                break

    def _add(self, file, declaration=Settings):
        self.internal_config_dict.update(_shipped_values(declaration, file))

    def _method_classes(self):
        return [METHODS[name] for name in self._chosen_methods() if name in METHODS]

    def _chosen_methods(self):
        chosen = self.external_config_dict.get("unlearn_methods", self.internal_config_dict.get("unlearn_methods"))
        if chosen == "all":
            chosen = [name for name in METHODS if issubclass(self.model_class, METHODS[name].serves)]
            chosen.sort(key=lambda name: (name != "Retrain", name == "DropEdges"))  # the aim first, doing nothing last
        if isinstance(chosen, str):
            chosen = [name.strip() for name in chosen.split(",") if name.strip()]
        if not isinstance(chosen, (list, tuple)) or not chosen:
            raise UsageError(f"Setting 'unlearn_methods' must name methods or be `all`, not {chosen!r}.")
        if "unlearn_methods" in self._stored and "unlearn_methods" not in self.variable_config_dict:
            return list(chosen)  # a machine that serves a run's models may lack the user's own method
        return [METHODS[name].__name__ for name in chosen]

    def _get_final_config_dict(self):
        final = super()._get_final_config_dict()
        final["unlearn_methods"] = self._chosen_methods()
        metrics = final["metrics"] if isinstance(final["metrics"], list) else [final["metrics"]]
        for metric in metrics:
            if metric_types.get(str(metric).lower()) != EvaluatorType.RANKING:
                ranking = [name for name, kind in metric_types.items() if kind == EvaluatorType.RANKING]
                raise unknown("metric", metric, ranking)
        if final["use_gpu"] == 0:  # RecBole has the setting and ignores it
            final["gpu_id"] = ""
        if torchrun_size() > 1:
            final["nproc"] = torchrun_size()
        check_nested({**self.file_config_dict, **self.variable_config_dict})
        check_values(final, [self.model_class, *self._method_classes()])
        self._check_request(final["forget_type"])
        return final

    def _check_request(self, forget_type):
        """Refuse tokens or a file that this kind of request does not read; log those of an overruled config file."""
        overruled = "forget_type" in {**self._stored, **self.variable_config_dict}
        for name in contradictions({**self.file_config_dict, **self.variable_config_dict}, forget_type):
            if not overruled or name in self.variable_config_dict:
                kinds = "' or '".join(NAMED[name])
                raise UsageError(f"Setting '{name}' needs forget_type '{kinds}', not '{forget_type}': change one.")
            getLogger().warning(f"Setting '{name}' of a config file is not used: forget_type is '{forget_type}'.")


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return re.sub(r"^\w+\.", "", str(value))  # enums by their name, devices by theirs
