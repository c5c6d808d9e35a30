"""Load checkpoints of RecBole's Trainer, which pickle a Config, without running code that a file names."""

import importlib
import inspect
import os
import pickle
import sys
from enum import Enum
from types import SimpleNamespace
from typing import Any

import torch
from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import tensor_file

PLAIN = {  # what a Config, tensors and numbers are pickled with
    ("_codecs", "encode"),
    ("builtins", "set"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch.serialization", "_get_layout"),
    ("yaml.loader", "FullLoader"),
}


class _Unpickler(pickle.Unpickler):
    """Knows RecBole's Config, models and enums, and what tensors are made of; refuses every other name."""

    def find_class(self, module, name):
        if (module, name) in PLAIN:
            return super().find_class(module, name)
        if module.startswith("recbole.model."):
            importlib.import_module(module)
        named = getattr(sys.modules.get(module), name, None)
        recboles_enum = module.startswith("recbole.") and inspect.isclass(named) and issubclass(named, Enum)
        if named is Config or recboles_enum or (inspect.isclass(named) and issubclass(named, AbstractRecommender)):
            return named
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def load(path: str, map_location: Any = None) -> dict[str, Any]:
    """Load what RecBole's Trainer saved. ``torch.load`` refuses it from torch 2.6 on.

    Args:
        path: the file.
        map_location: see ``torch.load``.

    Returns:
        With ``config``, ``state_dict`` and the rest.

    Raises:
        UsageError: the file does not exist, is of another kind, or names more than RecBole's Trainer pickles.
    """
    pickles = SimpleNamespace(
        Unpickler=_Unpickler, load=lambda file, **options: _Unpickler(file, **options).load(), __name__=__name__
    )
    if os.path.isfile(path) and tensor_file.is_tensor_file(path):
        raise _of_this_package(path)
    try:
        content = torch.load(path, map_location=map_location, pickle_module=pickles, weights_only=False)
    except FileNotFoundError:
        raise UsageError(f"Checkpoint '{path}' does not exist.") from None
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        trusted = (
            " If you trust it: torch.load(path, weights_only=False)."
            if isinstance(error, pickle.UnpicklingError)
            else ""
        )
        raise UsageError(f"'{path}' is no checkpoint of RecBole's Trainer: {reason}.{trusted}") from None
    if isinstance(content, dict) and "user_tokens" in content:
        raise _of_this_package(path)
    return content


def is_recboles(path: str) -> bool:
    """Whether a file is a checkpoint of RecBole's Trainer."""
    try:
        return isinstance(load(path, "cpu")["config"], Config)
    except (UsageError, KeyError, TypeError):
        return False


def _of_this_package(path):
    return UsageError(f"'{path}' is a model of recbole_unlearn: load it with recbole_unlearn.load_data_and_model.")
