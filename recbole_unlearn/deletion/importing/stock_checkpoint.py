"""Read RecBole's own checkpoints, which pickle a Config, without running what they pickle."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recbole_unlearn.config import DERIVED
from recbole_unlearn.data.settings import CACHES
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import torch_file
from recbole_unlearn.files.torch_file import Stub, name_of
from recbole_unlearn.model import MODELS

DEPTH = 10  # of settings in settings; RecBole has four levels, but a file's lists may contain themselves
MOST_VALUES = 100_000  # in all settings; RecBole has about two hundred, but a file may repeat one list
RENAMED = {  # settings of RecBole-GNN, to their names here
    "SimGCL": {"lambda": "simgcl_lambda", "eps": "simgcl_eps", "temperature": "simgcl_temperature"},
}
LOSSES = {"SimGCL": {"simgcl_sum": True}}  # of RecBole-GNN, where they differ from the paper's
_DROPPED = object()  # stands for a value that is no plain data


@dataclass(frozen=True)
class StockCheckpoint:
    """The content of a checkpoint of RecBole's Trainer.

    Args:
        settings: plain data fit for ``Config(config_dict=settings)``, with ``model`` and ``dataset``, but without
            settings that RecBole derives, or that name its cache files.
        weights: the state_dict, on the CPU.
        final: final embeddings of users and items from its evaluation, shape ``(N, d)``; None if it kept none.
        model_class: the full name of the model's class, e.g. ``"recbole.model.general_recommender.sgl.SGL"``.
    """

    settings: dict[str, Any]
    weights: dict[str, torch.Tensor]
    final: torch.Tensor | None
    model_class: str

    def is_of(self, package: str) -> bool:
        """Whether its model is of a package."""
        return self.model_class.startswith(f"{package}.")

    def exact_obstacle(self) -> str | None:
        """Why this package would train another model than the checkpoint's; None if it would train the same."""
        if self.is_of("recbole") or self.is_of("recbole_gnn") or self.is_of(MODELS[self.settings["model"]].__module__):
            return None
        return f"its class {self.model_class} is not RecBole's, and may train in another way"

    def counts_repeats(self) -> bool:
        """Whether the model's graph counts a repeated interaction each time. This package's graphs count it once."""
        return self.is_of("recbole_gnn") or (self.is_of("recbole") and self.settings["model"] == "SGL")


def read_stock(path: str) -> StockCheckpoint:
    """Read a checkpoint that RecBole's Trainer wrote, or RecBole-GNN's.

    Args:
        path: e.g. ``saved/LightGCN-Nov-21-2026_12-00-00.pth``.

    Raises:
        UsageError: the file does not exist, is no RecBole checkpoint, or holds a model that the plugin does not have.
    """
    try:
        content = torch_file.read(path, torch_file.stub)
    except FileNotFoundError:
        raise UsageError(f"Checkpoint '{path}' does not exist.") from None
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror or error}") from None
    except UsageError as error:
        raise _no_checkpoint(path, error) from None
    if not isinstance(content, dict):
        raise _no_checkpoint(path, "it holds no dictionary")
    config, weights = content.get("config"), content.get("state_dict")
    if not isinstance(config, Stub) or not isinstance(config.state, dict):
        raise _no_checkpoint(path, "it has no pickled Config")
    final = config.state.get("final_config_dict")
    names: list[Any] = (
        [final.get(key) for key in ("model", "dataset", "data_path")] if isinstance(final, dict) else [None]
    )
    if not all(isinstance(name, str) for name in names):
        raise _no_checkpoint(path, "its Config has no settings with a model, a dataset and a data_path")
    if names[0] not in MODELS:
        raise UsageError(
            f"'{path}' holds a {names[0]}, which has no unlearnable counterpart. Models that do: {', '.join(MODELS)}."
        )
    if not isinstance(weights, dict) or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise _no_checkpoint(path, "its state_dict is no dictionary of tensors")
    its_class = config.state.get("model_class")
    model_class = f"{its_class.__module__}.{its_class.__qualname__}" if isinstance(its_class, type) else "unknown"
    settings = _settings(path, final, model_class.startswith("recbole_gnn."))
    return StockCheckpoint(settings, dict(weights), _final_embeddings(content.get("other_parameter")), model_class)


def _settings(path, final, is_gnn):
    budget = iter(range(MOST_VALUES))
    settings = {
        str(key): _plain(value, budget) for key, value in final.items() if key not in DERIVED and key not in CACHES
    }
    if next(budget, None) is None:
        raise _no_checkpoint(path, "its Config has more settings than anybody writes")
    settings["data_path"] = os.path.dirname(settings["data_path"])  # RecBole appended the dataset's name
    settings = {key: value for key, value in settings.items() if value is not _DROPPED}
    if not is_gnn:
        return settings
    names = RENAMED.get(final["model"], {})
    return {**{names.get(key, key): value for key, value in settings.items()}, **LOSSES.get(final["model"], {})}


def _final_embeddings(cached):
    """The cached final embeddings, users first; None if there are none."""
    tables = [cached.get(f"restore_{side}_e") for side in ("user", "item")] if isinstance(cached, dict) else [None]
    there = [table for table in tables if isinstance(table, torch.Tensor) and table.ndim == 2]
    return torch.cat(there) if len(there) == 2 and there[0].shape[1] == there[1].shape[1] else None


def _no_checkpoint(path, reason):
    return UsageError(f"'{path}' is no checkpoint of RecBole's Trainer: {str(reason).removesuffix('.')}.")


def _plain(value, budget, depth=DEPTH):
    """A number, string, bool, None, or a list or dict of them; ``_DROPPED`` for the rest, such as enums and devices.

    Args:
        value: anything unpickled.
        budget: iterator with one step a value; at its end, all values are dropped.
        depth: the most lists and dicts within each other.
    """
    if next(budget, None) is None:
        return _DROPPED
    if isinstance(value, Stub):
        value = _number(value)
    if isinstance(value, int) and abs(value) >= 2**63:  # Python refuses to print long ones
        return _DROPPED
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if not depth or not isinstance(value, (list, tuple, dict)):
        return _DROPPED
    entries = value.values() if isinstance(value, dict) else value
    plain = [_plain(entry, budget, depth - 1) for entry in entries]
    if any(entry is _DROPPED for entry in plain):
        return _DROPPED
    return dict(zip(map(str, value), plain)) if isinstance(value, dict) else plain


def _number(stub):
    """The value of a pickled numpy scalar; ``_DROPPED`` for anything else."""
    try:
        if name_of(stub) in ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar"):
            return np.frombuffer(stub.args[1], np.dtype(stub.args[0].args[0])).item()
    except (AttributeError, IndexError, TypeError, ValueError):
        pass
    return _DROPPED
