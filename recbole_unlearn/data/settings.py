"""Checks RecBole's settings of data and evaluation before anything is read or trained."""

import importlib.util
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.settings import Count, Flag, Settings, Share, Words

NO_INTERVAL = "[0,inf)"
OFF_WITH_BENCHMARK_FILES = ("val_interval", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval")
CACHES = ("save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path")
REFUSED = {  # RecBole has these settings, but they would mislead here
    "threshold": "makes labels, which the models here do not read: rows of both labels would train as positives. Keep "
    "the rows that count with `val_interval`, e.g. --val_interval=\"{'rating': '[4,inf)'}\"",
    "repeatable": "ranks what a user already has; all measures here are of new items",
    **dict.fromkeys(CACHES, "would keep what is to be forgotten in a pickle that no run of this package reads"),
}


INTERVAL = "an interval, e.g. [5,inf), or several with a ; between them"
NUMBER = r"([-+]?(?:inf|\d+\.?\d*(?:e[-+]?\d+)?))"


def is_interval(value: Any) -> bool:
    """Whether a value is what RecBole reads as intervals; of others it only warns, and then keeps arbitrary rows."""
    for interval in str(value).split(";"):
        bounds = re.fullmatch(rf"[\[(]\s*{NUMBER}\s*,\s*{NUMBER}\s*[\])]", interval.strip(), flags=re.IGNORECASE)
        if not bounds or float(bounds[1]) > float(bounds[2]):
            return False
    return True


def _refuse_others(value):
    if not is_interval(value):
        raise ValueError
    return value


Text = Annotated[str, Field(min_length=1)]
Intervals = Annotated[Any, AfterValidator(_refuse_others), Words(INTERVAL)]
Columns = Annotated[
    dict[Any, Literal["*"] | list | tuple],
    Words("the columns of each kind of file, e.g. {inter: [user_id, item_id]}"),
]
LoadedColumns = Annotated[None | Columns, Field(description="Columns to load of each kind of file; empty takes all.")]
ThreeNames = Annotated[list | tuple, Field(min_length=3, max_length=3), Words("three names, e.g. [train, valid, test]")]


class DataSettings(Settings):
    """Settings of data whose defaults RecBole gives."""

    benchmark_filename: None | ThreeNames
    encoding: None | Text
    field_separator: Text
    filter_inter_by_user_or_item: Flag
    item_inter_num_interval: None | Intervals
    load_col: LoadedColumns
    normalize_all: Flag
    rm_dup_inter: Annotated[
        Literal["first", "last"] | None, Words("first, last or empty, which keeps repeated interactions")
    ]
    seq_separator: Text
    tail_ratio: None | Annotated[Count | Share, Words("a whole number >= 1 or a share above 0 and up to 1")]
    train_neg_sample_args: None | Annotated[dict, Words("a dict, e.g. {'distribution': 'uniform', 'sample_num': 1}")]
    unload_col: None | Columns
    user_inter_num_interval: None | Intervals
    val_interval: None | Annotated[dict, Words("a dict, e.g. {'rating': '[4,inf)'}")]


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
            f"Setting 'transform' ({settings['transform']!r}) belongs to RecBole's sequential models: leave it out."
        )
    _check_negatives(settings["train_neg_sample_args"] or {})
    for field, interval in (settings.get("val_interval") or {}).items():
        if not isinstance(interval, (list, tuple)) and not is_interval(interval):  # a list is of tokens
            raise UsageError(f"Setting 'val_interval of {field}' must be {INTERVAL}, not {interval!r}.")
    if isinstance(settings["eval_args"], dict):  # RecBole refuses all else
        _check_evaluation(settings["eval_args"])


def _check_negatives(negatives):
    if negatives.get("dynamic"):
        raise UsageError("Dynamic negative sampling (`train_neg_sample_args: dynamic`) is not supported.")
    drawn = negatives.get("sample_num", 1)
    if not isinstance(drawn, int) or drawn < 1:
        raise UsageError(f"Setting 'train_neg_sample_args' must have a `sample_num` >= 1, not {drawn!r}.")


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
                "Mode 'labeled' of `eval_args` belongs to RecBole's metrics of single scores, such as AUC; "
                "use full, uniN or popN."
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
            "The `split` RS of `eval_args` must be three numbers >= 0, of training, validation and test, that add up "
            f"to 1 (or whole ones, e.g. [8, 1, 1]), not {parts!r}."
        )


def _are_shares(parts):
    if not isinstance(parts, list) or len(parts) != 3 or not all(_is_number(part) and part >= 0 for part in parts):
        return False
    return abs(sum(parts) - 1) < 1e-6 or (sum(parts) > 0 and all(isinstance(part, int) for part in parts))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
