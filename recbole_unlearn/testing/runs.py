"""A tiny dataset of clustered tastes, and runs on it up to their trained original model."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_unlearn.config import Config
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.task import UnlearningData, prepare_data
from recbole_unlearn.trainer import train_backbone


def _plain_function(function: Any = None, **_: Any) -> Any:
    """Stands in for pytest's decorator: the checks are functions of a run, and whoever calls them needs no pytest."""
    return function or _plain_function


try:
    import pytest

    fixture: Any = pytest.fixture
except ImportError:
    fixture = _plain_function

N_USERS, N_ITEMS, N_TASTES = 40, 30, 3


def tiny_rows() -> Iterator[tuple[str, str]]:
    """Users and items: ten items a user, eight of them of the user's taste."""
    generator = np.random.default_rng(0)
    taste = np.arange(N_ITEMS) % N_TASTES
    for user in range(N_USERS):
        liked = generator.choice(np.flatnonzero(taste == user % N_TASTES), 8, replace=False)
        others = generator.choice(np.flatnonzero(taste != user % N_TASTES), 2, replace=False)
        yield from ((f"u{user}", f"i{item}") for item in np.concatenate([liked, others]))


def tiny_dataset(folder: str | os.PathLike) -> str:
    """Write the dataset ``tiny`` into a folder; returns the folder, for ``data_path``.

    Times, which most models do not load, have nothing to do with the rows' order; some are equal.
    """
    file = Path(folder) / "tiny" / "tiny.inter"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [(*row, str(1_600_000_000 + n * 7919 % 389)) for n, row in enumerate(tiny_rows())]
    header = "user_id:token", "item_id:token", "timestamp:float"
    file.write_text("\n".join(map("\t".join, [header, *rows])) + "\n")
    return str(folder)


def tiny_settings(data_path: str, checkpoint_dir: str) -> dict[str, Any]:
    """Settings with which a run on ``tiny`` takes a second."""
    return {
        "data_path": data_path,
        "checkpoint_dir": checkpoint_dir,
        "gpu_id": "",
        "seed": 7,
        "show_progress": False,
        "embedding_size": 8,
        "n_layers": 2,
        "epochs": 4,
        "eval_step": 2,
        "stopping_step": 10,
        "train_batch_size": 128,
        "learning_rate": 0.02,
        "metrics": ["Recall", "NDCG"],
        "topk": [5],
        "valid_metric": "NDCG@5",
        "forget_type": "random",
        "forget_ratio": 0.05,
        "forget_attack_epochs": 2,
        "unlearn_negatives": 200,
        "unlearn_finetune_epochs": 1,
        "ie_epochs": 2,
        "ie_batch_size": 128,
        "unlearn_shard_workers": 1,
        "unlearn_receraser_shards": 3,
        "unlearn_receraser_epochs": 8,
        "unlearn_grapheraser_shards": 3,
        "unlearn_sisa_shards": 3,
    }


@dataclass(repr=False)
class Run:
    """A run up to its trained original model.

    Args:
        config: its settings.
        data: split, request and what remains. Runs of the same training share it: nothing may change it.
        original: the trained model, this run's own copy.
    """

    config: Config
    data: UnlearningData
    original: Any

    def content_of_data(self) -> list[torch.Tensor]:
        """All numbers of the data."""
        data = self.data
        graphs = [data.graph, data.remaining_graph, data.valid, data.test]
        edges = [side for graph in graphs for side in (graph.users, graph.items)]
        parts = (data.train, data.remaining)
        rows = [part.inter_feat[field] for part in parts for field in (part.uid_field, part.iid_field)]
        return [*edges, *rows, data.request.users, data.request.items]

    def content(self) -> list[torch.Tensor]:
        """All numbers that a method is given and must not change: of the data and of the original model."""
        model = self.original
        adjacency = [model.adjacency.values()] if isinstance(model, UnlearnableRecommender) else []
        graph = [model.graph.users, model.graph.items, *adjacency]
        return [*self.content_of_data(), *graph, *model.state_dict().values()]


_RUNS: dict[tuple, Run] = {}


def prepared_run(config: Config) -> Run:
    """Split the data, draw the request and train the original; a process trains once for the same settings."""
    settings = {
        key: value
        for key, value in config.as_dict().items()
        if key == "unlearn_measure_on" or not key.startswith(("ie_", "unlearn_", "checkpoint_dir", "report_file"))
    }
    key = MODELS[config["model"]], str(config["device"]), str(settings)
    if key not in _RUNS:
        data = prepare_data(config)
        _RUNS[key] = Run(config, data, train_backbone(config, data.train, "original", data.valid_data).model)
    shared = _RUNS[key]
    original = MODELS[config["model"]](config, shared.data.train).to(config["device"])
    original.load_state_dict(shared.original.state_dict())
    init_seed(config["seed"], config["reproducibility"])
    return Run(config, shared.data, original.eval())


@contextmanager
def tiny_config(folder: Path, model: str, settings: Mapping[str, Any]) -> Iterator[Config]:
    """A Config on ``tiny``; RecBole's logs go to the folder, in which the block works.

    Args:
        folder: for whatever a run writes.
        model: a registered backbone's name.
        settings: what differs from :func:`tiny_settings`.
    """
    before = os.getcwd()
    data = folder.parent / "recbole_unlearn_testing"
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        defaults = tiny_settings(tiny_dataset(data), str(folder / "saved"))
        yield Config(model, "tiny", config_dict={**defaults, **settings})
    finally:
        os.chdir(before)


def scores(model: Any) -> torch.Tensor:
    """Scores of all items for all users, shape ``(n_users, n_items)``."""
    with torch.no_grad():
        everyone = Interaction({model.USER_ID: torch.arange(model.n_users)}).to(model.device)
        return model.full_sort_predict(everyone).view(model.n_users, -1)
