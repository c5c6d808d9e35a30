"""The objective of a sweep, for RecBole's own ``HyperTuning``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_unlearn.config import Config
from recbole_unlearn.errors import Diverged
from recbole_unlearn.sweep.simulation import PARTS, Simulation, measure, simulated_data, simulated_requests, train_part
from recbole_unlearn.sweep.space import swept_method, with_whole_numbers


def objective_function(
    config_dict: Mapping[str, Any] | None = None, config_file_list: Sequence[str] | None = None, saved: bool = True
) -> dict[str, Any]:
    """The objective of a sweep for RecBole's own ``HyperTuning``: settings of a method on a simulated request.

    Args:
        config_dict: the settings to try.
        config_file_list: yaml files, with ``model`` and ``dataset``.
        saved: RecBole passes it, and the function ignores it: it keeps all trainings, so that trials share them.

    Returns:
        RecBole's ``model``, ``best_valid_score`` (the objective; less is better), ``valid_score_bigger``,
        ``best_valid_result`` and ``test_result``, which is empty because test data choose nothing.
    """
    config = Config(config_file_list=config_file_list, config_dict=with_whole_numbers(config_dict or {}))
    ((settings,), (data,)) = simulated_data(config, swept_method(config), simulated_requests(config))
    states = (train_part(Config(stored=settings), data, part) for part in PARTS)
    simulation = Simulation.of(settings, data, *states)
    try:
        result = measure(simulation, {})
    except Diverged as error:
        result = {"objective": math.inf, "error": str(error)}
    return {
        "model": config["model"],
        "best_valid_score": result["objective"],
        "valid_score_bigger": False,
        "best_valid_result": result,
        "test_result": {},
    }
