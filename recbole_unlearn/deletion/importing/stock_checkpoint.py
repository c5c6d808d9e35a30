"""Read RecBole's own checkpoints, which pickle a Config, without running what they pickle."""

import json
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
from recbole_unlearn.model import MODELS, ExactRecommender, NetworkRecommender

MOST_PARTS = 300_000  # of JSON in all settings; RecBole has about a thousand, but a file may repeat one list
RENAMED = {  # settings of RecBole-GNN, to their names here
    "SimGCL": {"lambda": "simgcl_lambda", "eps": "simgcl_eps", "temperature": "simgcl_temperature"},
}
LOSSES = {"SimGCL": {"simgcl_sum": True}}  # of RecBole-GNN, where they differ from the paper's


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
    if issubclass(MODELS[names[0]], ExactRecommender):
        raise UsageError(
            f"'{path}' holds RecBole's {names[0]}, which keeps its weights but not what forgetting needs: fit it again "
            f"with run_unlearn.py --model={names[0]}."
        )
    if issubclass(MODELS[names[0]], NetworkRecommender):
        raise UsageError(
            f"'{path}' holds RecBole's {names[0]}, a network: a store revises tables and fits. Train it anew "
            f"without the request: run_unlearn.py --model={names[0]}, method Retrain."
        )
    if not isinstance(weights, dict) or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise _no_checkpoint(path, "its state_dict is no dictionary of tensors")
    its_class = config.state.get("model_class")
    model_class = f"{its_class.__module__}.{its_class.__qualname__}" if isinstance(its_class, type) else "unknown"
    settings = _settings(path, final, model_class.startswith("recbole_gnn."))
    return StockCheckpoint(settings, dict(weights), _final_embeddings(content.get("other_parameter")), model_class)


def _settings(path, final, is_gnn):
    budget, encoder, settings = iter(range(MOST_PARTS)), json.JSONEncoder(default=_number), {}
    for key, value in final.items():
        if key in DERIVED or key in CACHES:
            continue
        try:
            parts = [part for _, part in zip(budget, encoder.iterencode(value))]
            settings[str(key)] = json.loads("".join(parts))
        except (RecursionError, TypeError, ValueError):  # no plain data, such as an enum or a device, or not all of it
            continue
    if next(budget, None) is None:
        raise _no_checkpoint(path, "its Config has more settings than anybody writes")
    settings["data_path"] = os.path.dirname(settings["data_path"])  # RecBole appended the dataset's name
    if not is_gnn:
        return settings
    names = RENAMED.get(final["model"], {})
    return {**{names.get(key, key): value for key, value in settings.items()}, **LOSSES.get(final["model"], {})}


def _number(stub):
    """The value of a pickled numpy scalar.

    Raises:
        TypeError, ValueError: it stands for anything else.
    """
    if name_of(stub) not in ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar"):
        raise TypeError("no plain data")
    try:
        kind, content = stub.args
        return np.frombuffer(content, np.dtype(kind.args[0])).item()
    except (AttributeError, IndexError) as error:
        raise TypeError("no number") from error


def _final_embeddings(cached):
    """The cached final embeddings, users first; None if there are none."""
    tables = [cached.get(f"restore_{side}_e") for side in ("user", "item")] if isinstance(cached, dict) else [None]
    there = [table for table in tables if isinstance(table, torch.Tensor) and table.ndim == 2]
    return torch.cat(there) if len(there) == 2 and there[0].shape[1] == there[1].shape[1] else None


def _no_checkpoint(path, reason):
    return UsageError(f"'{path}' is not a checkpoint of RecBole's Trainer: {str(reason).removesuffix('.')}.")
