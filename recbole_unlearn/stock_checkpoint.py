"""Reading RecBole's own checkpoints, which pickle a Config, without running what they pickle."""

import os

import numpy as np
import torch

from recbole_unlearn import inert
from recbole_unlearn.config import DERIVED
from recbole_unlearn.data.settings import CACHES
from recbole_unlearn.errors import UsageError
from recbole_unlearn.inert import Inert
from recbole_unlearn.model import MODELS

DEPTH = 10  # of settings in settings; RecBole has four, a file may have lists that contain themselves
_DROPPED = object()  # in the place of a value that is no plain data


def read_stock(path):
    """Read the settings and weights of a checkpoint that RecBole's Trainer wrote.

    Args:
        path (str): e.g. ``saved/LightGCN-Nov-21-2026_12-00-00.pth``.

    Returns:
        tuple: ``settings``, a dict of plain data fit for ``Config(config_dict=settings)``, with ``model`` and ``dataset``
        but without what RecBole derives by itself or kept files of; and ``state_dict``, a dict of names to tensors on the CPU.

    Raises:
        UsageError: no such file, no RecBole checkpoint, or one of a model that the plugin does not have.
    """
    content = inert.load(path)
    if not isinstance(content, dict):
        raise _no_checkpoint(path, "it holds no dictionary")
    config, weights = content.get("config"), content.get("state_dict")
    if not isinstance(config, Inert) or not isinstance(config.state, dict):
        raise _no_checkpoint(path, "it has no pickled Config")
    final = config.state.get("final_config_dict")
    if not isinstance(final, dict) or not all(isinstance(final.get(key), str) for key in ("model", "dataset", "data_path")):
        raise _no_checkpoint(path, "its Config has no settings with a model, a dataset and a data_path")
    if final["model"] not in MODELS:
        raise UsageError(
            f"'{path}' holds a {final['model']}, which has no unlearnable counterpart. Models that do: {', '.join(MODELS)}."
        )
    if not isinstance(weights, dict) or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise _no_checkpoint(path, "its state_dict is no dictionary of tensors")
    settings = {key: _plain(value) for key, value in final.items() if key not in DERIVED and key not in CACHES}
    settings["data_path"] = os.path.dirname(settings["data_path"])  # RecBole appended the dataset's name
    return {key: value for key, value in settings.items() if value is not _DROPPED}, dict(weights)


def _no_checkpoint(path, reason):
    return UsageError(f"'{path}' is no checkpoint of RecBole's Trainer: {reason}.")


def _plain(value, depth=DEPTH):
    """A number, string, bool, None, or list or dict of such; ``_DROPPED`` for all else, such as enums and devices."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth and isinstance(value, (list, tuple)):
        values = [_plain(entry, depth - 1) for entry in value]
        return _DROPPED if _DROPPED in values else values
    if depth and isinstance(value, dict):
        values = {str(key): _plain(entry, depth - 1) for key, entry in value.items()}
        return _DROPPED if _DROPPED in values.values() else values
    return _DROPPED
