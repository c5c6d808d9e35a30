"""Load checkpoints of RecBole's Trainer, which pickle a Config, without running code that a file names."""

import importlib
import inspect
import os
import sys
from enum import Enum
from typing import Any

from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import tensor_file, torch_file

PLAIN = {  # what a Config, sparse tensors and numbers are pickled with
    "_codecs": ("encode",),
    "builtins": ("set",),
    "collections": ("defaultdict",),
    "numpy": ("dtype", "ndarray"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "torch": ("Size", "device"),
    "torch._utils": ("_rebuild_sparse_tensor",),
    "torch.serialization": ("_get_layout",),
    "yaml.loader": ("FullLoader",),
}


def load(path: str, map_location: Any = None) -> dict[str, Any]:
    """Load what RecBole's Trainer saved. ``torch.load`` refuses it from torch 2.6 on.

    Args:
        path: the file.
        map_location: the device of its tensors; None is the device of each when it was saved.

    Returns:
        With ``config``, ``state_dict`` and the rest.

    Raises:
        UsageError: the file does not exist, is of another kind, or names more than RecBole's Trainer pickles.
    """
    if os.path.isfile(path) and tensor_file.is_tensor_file(path):
        raise _of_this_package(path)
    try:
        content = torch_file.read(path, _recboles, map_location)
    except FileNotFoundError:
        raise UsageError(f"Checkpoint '{path}' does not exist.") from None
    except (UsageError, OSError) as error:
        raise UsageError(f"'{path}' is not a checkpoint of RecBole's Trainer: {error}.") from None
    if isinstance(content, dict) and "user_tokens" in content:
        raise _of_this_package(path)
    return content


def is_recboles(path: str) -> bool:
    """Whether a file is a checkpoint of RecBole's Trainer."""
    try:
        return isinstance(load(path, "cpu")["config"], Config)
    except (UsageError, KeyError, TypeError):
        return False


def _recboles(module, name):
    """RecBole's Config, models and enums, and what plain data are made of; refuses every other name."""
    if name in PLAIN.get(module, ()):
        return getattr(importlib.import_module(module), name)
    if module.startswith("recbole.model."):
        importlib.import_module(module)
    named = getattr(sys.modules.get(module), name, None)
    if named is Config or inspect.isclass(named) and issubclass(named, AbstractRecommender):
        return named
    if module.startswith("recbole.") and inspect.isclass(named) and issubclass(named, Enum):
        return named
    raise UsageError(f"it names {module}.{name}. If you trust it: torch.load(path, weights_only=False)")


def _of_this_package(path):
    return UsageError(f"'{path}' is a model of recbole_unlearn: load it with recbole_unlearn.load_data_and_model.")
