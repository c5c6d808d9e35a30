"""Reference models: the backbone trained anew, with some of the units and without the others."""

from typing import Any

import numpy as np
import torch

from recbole_unlearn.audit.units import Units
from recbole_unlearn.data.copies import with_edges_of
from recbole_unlearn.display import counted
from recbole_unlearn.evaluator.recbole_metrics import scores_of
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.parallel import device_of, n_workers, side_by_side
from recbole_unlearn.trainer import train_backbone


def reference_scores(config: Any, data: Any, units: list[Units], seen: list[np.ndarray]) -> list[np.ndarray]:
    """Train the reference models side by side, and let them score all units.

    A training that finished before is loaded, so that an interrupted audit goes on, and all methods share it.

    Args:
        config (Config): settings of the training.
        data (UnlearningData): the run's data.
        units: sets of units.
        seen: of each set, which model is trained with which unit, boolean of shape ``(m, n)``.

    Returns:
        Of each set the mean score of each unit by each model, shape ``(m, n)``.
    """
    n_models = len(seen[0])
    wanted = config["unlearn_shard_workers"]
    if config["device"].type == "cpu":  # all threads: a reference model's seconds are not compared
        wanted = wanted or (config["unlearn_workers"] or 1) * config["nproc"] * torch.get_num_threads()
    workers = n_workers(config, n_models, wanted)
    config = config.replace(nproc=1)  # each is a training of one process

    def job(number):
        graph = data.graph
        for some, of_model in zip(units, seen):
            graph = graph.without(*some.edges_of(~of_model[number]))
        settings = config.replace(device=device_of(config["device"], number, workers))
        return MODELS[config["model"]], settings, with_edges_of(data.train, graph), data.valid_data, number, units

    jobs = map(job, range(n_models))
    rows = counted(side_by_side(_scores, jobs, workers, config), "reference model", n_models)
    return [np.stack(of_set) for of_set in zip(*rows)]


def _scores(model_class, config, train, valid_data, number, units):
    MODELS.register(model_class)  # a fresh process does not know a user's own model
    model = train_backbone(config, train, f"audit-{number}", valid_data, verbose=False).model
    return [unit_scores(model, some) for some in units]


def unit_scores(model: torch.nn.Module, units: Units) -> np.ndarray:
    """The mean score of each unit's edges, shape ``(n,)``."""
    return units.means(scores_of(model, units.users, units.items))
