"""Knows the names of all settings, and refuses a misspelt one."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import recbole
from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments

from recbole_unlearn.declarations import Overall, declarations
from recbole_unlearn.errors import UsageError, closest, unknown
from recbole_unlearn.files.yaml_file import read_yaml
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.registry import own_yaml

PREFIXES = ("forget_", "unlearn_", "ie_")
RECBOLE_READS = {  # though no yaml or list of arguments has them
    *("model", "dataset", "encoding", "nproc", "world_size", "ip", "port", "offset", "verbose", "tail_ratio"),
    *("eta", "norm", "sim", "contrast", "cin", "has_residual", "use_filter", "token_num_threshold"),
    "xgb_early_stopping_rounds",
}
ARGUMENTS = {*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments}
UNREAD = {"config_file"}  # in RecBole's lists of arguments, but nothing reads them
MEANT = {  # names of a setting in other tools, other commands and earlier versions of RecBole
    "batch_size": "train_batch_size",
    "config": "config_files",
    "config_file": "config_files",
    "device": "gpu_id",
    "eps": "simgcl_eps",
    "eval_setting": "eval_args",
    "file": "forget_file",
    "group_by_user": "eval_args",
    "highest_val": "val_interval",
    "lambda": "simgcl_lambda",
    "leave_one_num": "eval_args",
    "lowest_val": "val_interval",
    "lr": "learning_rate",
    "neg_sampling": "train_neg_sample_args",
    "requests": "forget_file",
    "request_file": "forget_file",
    "requests_file": "forget_file",
    "split_ratio": "eval_args",
    "training_neg_sample_num": "train_neg_sample_args",
}
NESTED = {  # the keys that a dict may have
    "clip_grad_norm": ("max_norm", "norm_type", "error_if_nonfinite", "foreach"),
    "train_neg_sample_args": ("distribution", "sample_num", "alpha", "dynamic", "candidate_num"),
}
SUFFIXES = ("inter", "user", "item", "kg", "link", "net")  # of a dataset's files
# Another value of one of these makes another model: a call on a store compares them with the store's.
MAKE_THE_MODEL = ("dataset", "embedding_size", "n_layers", "USER_ID_FIELD", "ITEM_ID_FIELD")
READ_OF_A_STORE = {"model", *MAKE_THE_MODEL}
READ_OF_A_STORE |= {"seed", "gpu_id", "use_gpu", "checkpoint_dir", "show_progress", "state"}
OF_SOURCES = {"data_path", "train_file", "benchmark_filename", "eval_args", *dataset_arguments} - READ_OF_A_STORE
NAMED = {  # only these values of forget_type read it
    "forget_users": ("user",),
    "forget_items": ("item",),
    "forget_item_feature": ("item",),
    "forget_item_value": ("item",),
    "forget_file": ("file",),
    "forget_format": ("file",),
    "forget_url": ("file",),
    "forget_query": ("file",),
    "forget_spam_targets": ("spam",),
    "forget_pick": ("random", "user", "item"),
}


def properties_folder() -> Path:
    """The folder of the plugin's yaml: in the installed package, or at the top level of a checkout."""
    installed = Path(str(files("recbole_unlearn"))) / "properties"
    return installed if installed.is_dir() else installed.parent.parent / "properties"


def known_settings() -> set[str]:
    """Every setting that RecBole or the plugin has, or a user's own model or method, declared or in its yaml."""
    own: list[type[Any]] = [*MODELS.own(MODELS), *METHODS.own(METHODS)]
    paths = [path for path in map(own_yaml, own) if path]
    files = [file for path in paths for file in (path, *path.parent.glob(f"{path.stem}-*.yaml"))]
    declared = [cls.settings.model_fields for cls in own]
    return _shipped().union(*declared, *map(read_yaml, filter(Path.is_file, files)))


def check_names(settings: Iterable[str], dashes: str = "", options: Iterable[str] = ()) -> None:
    """Refuse settings that nothing reads.

    Args:
        settings: their names.
        dashes: what the user writes before a name, ``--`` on the command line.
        options: other names to suggest.

    Raises:
        UsageError: gives the closest name.
    """
    unknown_ones = set(settings) - _shipped()
    known = known_settings() if unknown_ones else ()
    for name in settings:
        if name in unknown_ones and name not in known:
            raise _unknown(str(name), known, dashes, options)


def check_nested(settings: Mapping[str, Any]) -> None:
    """Refuse keys within settings that nothing reads.

    Raises:
        UsageError: gives the closest key.
    """
    for name, keys in NESTED.items():
        _check_keys(name, settings.get(name), keys)
    _check_keys("eval_args: mode", _dict(settings.get("eval_args")).get("mode"), ("valid", "test"))
    suffixes = settings.get("additional_feat_suffix") or ()
    suffixes = (*SUFFIXES, *([suffixes] if isinstance(suffixes, str) else suffixes))
    for name in ("load_col", "unload_col", "unused_col"):
        _check_keys(name, settings.get(name), suffixes)


def check_deletion_settings(settings: Mapping[str, Any] | None) -> None:
    """Refuse settings that deletion requests against a saved model do not have.

    Args:
        settings: the user's changes of the model's own.

    Raises:
        UsageError: a name is unknown, or belongs to a request, which comes in a file.
    """
    check_names(settings or {})
    for name in settings or {}:
        if name.startswith("forget_"):
            raise UsageError(f"Setting '{name}' says nothing to a saved model: its requests name what to forget.")


def is_read_of_a_store(name: str, exact: bool) -> bool:
    """Whether a call on an existing store reads a setting; with ``exact``, it also reads those of a training."""
    if name in OF_SOURCES:
        return False
    return exact or name.startswith(("ie_", "unlearn_")) or name in READ_OF_A_STORE


def contradictions(settings: Mapping[str, Any], forget_type: str) -> list[str]:
    """The settings that name what to forget but that this ``forget_type`` does not read."""
    unread = [name for name, kinds in NAMED.items() if forget_type not in kinds]
    return [name for name in unread if settings.get(name) and settings[name] != Overall.model_fields[name].default]


@cache
def _shipped():
    """The settings of RecBole and the plugin."""
    properties = Path(recbole.__file__).parent / "properties"
    recboles = [file for file in properties.rglob("*.yaml") if file.stem not in ("url", "kg_url")]
    names = {name for file in recboles for name in read_yaml(file)}
    declared = {name for declaration in declarations() for name in declaration.model_fields}
    return frozenset((names | declared | ARGUMENTS | RECBOLE_READS) - UNREAD)


def _unknown(name, known, dashes, options):
    choices = {*known, *options}
    plain = name.replace("-", "_")
    if plain in choices:
        return UsageError(f"Unknown setting '{dashes}{name}': names have underscores, use {dashes}{plain}.")
    close = [MEANT[plain]] if MEANT.get(plain) in choices else closest(plain, choices, number=1, cutoff=0.6)
    hint = f"Did you mean '{dashes}{close[0]}'? " if close else ""
    return UsageError(
        f"Unknown setting '{dashes}{name}'. {hint}Known are RecBole's, those of properties/ and those of "
        "your own model or method."
    )


def _check_keys(name, value, keys):
    for key in _dict(value):
        if key not in keys:
            raise unknown(f"key in '{name}'", key, keys)


def _dict(value):
    return value if isinstance(value, dict) else {}
