"""Reads settings as a user types them: as Python literals, except names, paths and identifiers, which stay text."""

import ast
import os
import re
import warnings
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from recbole_unlearn.errors import UsageError

COUNTED = "forget_spam_targets"  # tokens, or their number
IDENTIFIERS = ("forget_users", "forget_items", "forget_item_value", COUNTED)
SEPARATORS = ("field_separator", "seq_separator")
TEXT = {
    *("model", "dataset", "data_path", "checkpoint_dir", "dataset_save_path", "dataloaders_save_path"),
    *("forget_file", "forget_format", "forget_url", "forget_query"),
    *("report_file", "forget_item_feature", "train_file", "wandb_project", "encoding", *SEPARATORS),
    *("USER_ID_FIELD", "ITEM_ID_FIELD", "RATING_FIELD", "TIME_FIELD", "LABEL_FIELD", "NEG_PREFIX", "LIST_SUFFIX"),
    *("HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD", "ENTITY_ID_FIELD"),
    *("ITEM_LIST_LENGTH_FIELD", "POSITION_FIELD"),
    *("unlearn_sink_folder", "unlearn_mlflow_uri", "unlearn_mlflow_model", "unlearn_signing_key"),
}
LISTS = {  # of names of fields and files
    *("additional_feat_suffix", "benchmark_filename", "normalize_field", "numerical_features"),
    *("alias_of_user_id", "alias_of_item_id", "alias_of_entity_id", "alias_of_relation_id"),
}
NAMES = {*LISTS, "load_col", "unload_col", "unused_col", "preload_weight"}  # those and dicts of names
QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
TOKEN = re.compile(rf"\s*({QUOTED}|[^,]*?)\s*(,|$)", re.DOTALL)  # a quoted token may have commas


def read_value(key: str, value: Any) -> Any:
    """A setting's value. Text that is a Python literal becomes that literal's value; nothing is executed.

    Names, paths and separators lose quotes around them and otherwise stay as they are; identifiers become a list of
    str.

    Raises:
        UsageError: identifiers are not text.
    """
    if key == COUNTED and _is_number(value):
        return int(value)
    if key in IDENTIFIERS:
        return identifiers(key, value)
    if key in TEXT:
        return _text(key, value)
    if isinstance(value, str):
        return _names(value) if key in {*LISTS, "metrics", "unlearn_sinks"} else literal(value)
    return _plain(value)


def identifiers(key: str, value: Any) -> list[str] | None:
    """The distinct tokens of a setting of ``IDENTIFIERS``, each exactly as written.

    Args:
        key: the setting.
        value: a list (tuple, set, array, series) of str or whole numbers, one of them, or text: ``a,b`` or ``[a,b]``.
            Quotes enclose a token with commas, with brackets, or with spaces at an end. None samples.

    Raises:
        UsageError: there is no token, a token is empty, or it has another type, such as a float, whose text is
            ambiguous.
    """
    if value is None:
        return None
    if isinstance(value, str):
        tokens = _split(value)
    elif isinstance(value, (np.ndarray, pd.Series, pd.Index)):
        tokens = value.tolist()
    elif isinstance(value, (set, frozenset)):
        tokens = sorted(value, key=str)
    else:
        tokens = list(value) if isinstance(value, (list, tuple)) else [value]
    for token in tokens:
        if not isinstance(token, (str, Integral)) or isinstance(token, bool):
            kind = type(token).__name__
            raise UsageError(
                f"Setting '{key}' must be tokens as text (or whole numbers), but one is a {kind}: quote it."
            )
        if token == "":
            raise UsageError(f"Setting '{key}' has an empty token; leave it out.")
    if not tokens:
        raise UsageError(f"Setting '{key}' names nothing; leave it out to sample `forget_ratio`, or name some.")
    return list(dict.fromkeys(map(str, tokens)))


def literal(text: str) -> Any:
    """The value of a text as a Python literal, or the text if it is none."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "seed-7.inter" is a name: no reason to warn
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _is_number(value):
    if isinstance(value, str):
        return value.isdecimal()
    return isinstance(value, Integral) and not isinstance(value, bool)


def _plain(value):
    """Convert numpy's numbers and arrays, e.g. of a loop over ``np.arange``, to Python's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _names(text):
    """A list of names from ``[a,b]`` or ``a,b``, as a shell leaves it without quotes."""
    value = literal(text)
    return _split(text) if isinstance(value, str) else value


def _text(key, value):
    if isinstance(value, os.PathLike) or (isinstance(value, Integral) and not isinstance(value, bool)):
        return str(value)
    if not isinstance(value, str):
        return value
    if value == "None":  # how a command line empties a setting
        return None
    if key in SEPARATORS and value == r"\t":  # as a shell gives it
        return "\t"
    return _unquoted(value)


def _split(text):
    """Tokens between commas, in brackets or not."""
    whole = literal(text.strip())
    if isinstance(whole, (list, tuple)) and all(isinstance(token, str) for token in whole):
        return list(whole)
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    tokens = []
    for found in TOKEN.finditer(text):
        tokens.append(_unquoted(found[1]))
        if not found[2]:  # the end
            break
    return tokens


def _unquoted(text):
    value = literal(text) if re.fullmatch(QUOTED, text, re.DOTALL) else text
    return value if isinstance(value, str) else text
