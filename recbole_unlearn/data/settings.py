"""Checks RecBole's settings of data and evaluation before anything is read or trained."""

import importlib.util
import math
import re
from collections.abc import Mapping
from typing import Any

from recbole_unlearn.errors import UsageError, unknown

NO_INTERVAL = "[0,inf)"
OFF_WITH_BENCHMARK_FILES = ("val_interval", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval")
CACHES = ("save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path")
REFUSED = {  # RecBole has these settings, but they would mislead here
    "threshold": "makes labels, which the models here do not read: rows of both labels would train as positives. Keep "
    "the rows that count with `val_interval`, e.g. --val_interval=\"{'rating': '[4,inf)'}\"",
    "repeatable": "ranks what a user has already; all measures here are of new items",
    **dict.fromkeys(CACHES, "would keep what is to be forgotten in a pickle that no run of this package reads"),
}


def check_data_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of data and evaluation that would fail late or mean something else here.

    Args:
        settings: the final settings, with values as the user gives them.

    Raises:
        UsageError: names the setting, its value and what it may be.
    """
    for key, reason in REFUSED.items():
        if settings.get(key):
            raise UsageError(f"Setting '{key}' is not supported: it {reason}.")
    if settings.get("log_wandb") and importlib.util.find_spec("wandb") is None:
        raise UsageError("Setting 'log_wandb' needs Weights and Biases: pip install wandb, or leave it out.")
    if settings.get("transform"):
        raise UsageError(
            f"Setting 'transform' ({settings['transform']!r}) is of RecBole's sequential models alone: leave it out."
        )
    _check_negatives(settings["train_neg_sample_args"])
    tail = settings.get("tail_ratio")
    if tail is not None and not _is_tail(tail):
        raise UsageError(
            f"Setting 'tail_ratio' must be a whole number >= 1 or a share above 0 and up to 1, not {tail!r}."
        )
    for key in ("load_col", "unload_col"):
        _check_columns(key, settings.get(key))
    for key in ("user_inter_num_interval", "item_inter_num_interval"):
        _check_interval(key, settings.get(key))
    intervals = settings.get("val_interval") or {}
    if not isinstance(intervals, dict):
        raise UsageError(f"Setting 'val_interval' must be a dict, e.g. {{'rating': '[4,inf)'}}, not {intervals!r}.")
    for field, interval in intervals.items():
        if not isinstance(interval, (list, tuple)):  # of tokens
            _check_interval(f"val_interval of {field}", interval)
    _check_benchmark_files(settings.get("benchmark_filename"))
    if settings.get("rm_dup_inter") not in (None, "first", "last"):
        raise UsageError(
            "Setting 'rm_dup_inter' must be first, last or empty, which keeps repeated interactions, "
            f"not {settings['rm_dup_inter']!r}."
        )
    for key, empty in (("field_separator", False), ("seq_separator", False), ("encoding", True)):
        value = settings.get(key)
        if not (isinstance(value, str) and value) and not (empty and value is None):
            raise UsageError(f"Setting '{key}' must be a text, not {value!r}.")
    if isinstance(settings["eval_args"], dict):  # RecBole refuses all else
        _check_evaluation(settings["eval_args"])


def _check_negatives(negatives):
    if negatives is None:
        return
    if not isinstance(negatives, dict):
        raise UsageError(
            "Setting 'train_neg_sample_args' must be empty or a dict, e.g. {'distribution': 'uniform', 'sample_num': 1}, "
            f"not {negatives!r}."
        )
    if negatives.get("dynamic"):
        raise UsageError("Dynamic negative sampling (`train_neg_sample_args: dynamic`) is not supported.")
    drawn = negatives.get("sample_num", 1)
    if not isinstance(drawn, int) or drawn < 1:
        raise UsageError(f"Setting 'train_neg_sample_args' must have a `sample_num` >= 1, not {drawn!r}.")


def _check_benchmark_files(names):
    if names is not None and (not isinstance(names, (list, tuple)) or len(names) != 3):
        raise UsageError(f"Setting 'benchmark_filename' must be three names, e.g. [train, valid, test], not {names!r}.")


def _check_evaluation(eval_args):
    choices = {"order": ("RO", "TO"), "group_by": ("user", "none")}
    for key in eval_args:
        if key not in ("split", "order", "group_by", "mode"):
            raise unknown("key of `eval_args`", key, ("split", "order", "group_by", "mode"))
    for key, names in choices.items():
        value = eval_args.get(key, names[0])
        if str(value).lower() not in map(str.lower, names) or (key == "order" and value not in names):
            raise unknown(f"`{key}` of `eval_args`", value, names)
    if "split" in eval_args:
        _check_split(eval_args["split"])
    mode = eval_args.get("mode", "full")
    for part in mode.values() if isinstance(mode, dict) else [mode]:
        if part == "labeled":
            raise UsageError(
                "Mode 'labeled' of `eval_args` goes with RecBole's metrics of single scores, AUC and the like; "
                "here, take full, uniN or popN."
            )
        if not re.fullmatch(r"full|(uni|pop)[1-9]\d*", str(part)):
            raise UsageError(
                f"The `mode` of `eval_args` must be full, uniN or popN with N drawn items, e.g. uni100, not {part!r}."
            )


def _check_split(split):
    if not isinstance(split, dict) or len(split) != 1:
        raise UsageError(
            f"The `split` of `eval_args` must be {{RS: [0.8, 0.1, 0.1]}} or {{LS: valid_and_test}}, not {split!r}."
        )
    ((kind, parts),) = split.items()
    if kind not in ("RS", "LS"):
        raise unknown("`split` of `eval_args`", kind, ("RS", "LS"))
    if kind == "LS" and parts != "valid_and_test":
        raise UsageError(f"The `split` LS of `eval_args` must be valid_and_test, not {parts!r}: both parts are needed.")
    if kind == "RS" and not _are_shares(parts):
        raise UsageError(
            "The `split` RS of `eval_args` must be three numbers >= 0, of training, validation and test, that add up to "
            f"1 (or whole ones, e.g. [8, 1, 1]), not {parts!r}."
        )


def _are_shares(parts):
    if not isinstance(parts, list) or len(parts) != 3 or not all(_is_number(part) and part >= 0 for part in parts):
        return False
    return abs(sum(parts) - 1) < 1e-6 or (sum(parts) > 0 and all(isinstance(part, int) for part in parts))


def _check_columns(key, value):
    if value is None:
        return
    if not isinstance(value, dict) or not all(
        names == "*" or isinstance(names, (list, tuple)) for names in value.values()
    ):
        raise UsageError(
            f"Setting '{key}' must name the columns of each kind of file, e.g. {{inter: [user_id, item_id]}}, "
            f"not {value!r}."
        )


def _check_interval(key, value):
    """Refuse what is no interval: RecBole only warns of it, and then keeps or drops arbitrary rows."""
    for interval in [] if value is None else str(value).split(";"):
        number = r"([-+]?(?:inf|\d+\.?\d*(?:e[-+]?\d+)?))"
        bounds = re.fullmatch(rf"[\[(]\s*{number}\s*,\s*{number}\s*[\])]", interval.strip(), flags=re.IGNORECASE)
        if not bounds or float(bounds[1]) > float(bounds[2]):
            raise UsageError(
                f"Setting '{key}' must be an interval, e.g. [5,inf), or several with a ; between them, not {value!r}."
            )


def _is_tail(value):
    return _is_number(value) and (0 < value <= 1 or (isinstance(value, int) and value >= 1))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
