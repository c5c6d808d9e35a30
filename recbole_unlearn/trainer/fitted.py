"""Fitting a model that no gradients train, once for the same settings, data and code."""

import os
from logging import getLogger
from typing import Any

from recbole.data.dataset import Dataset
from recbole.utils import set_color

from recbole_unlearn.cost import measured
from recbole_unlearn.digest import digest
from recbole_unlearn.files import checkpoint
from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.model.exact import ExactRecommender
from recbole_unlearn.trainer.code import training_code
from recbole_unlearn.trainer.trained import Trained


def fit(config: Any, model: ExactRecommender, dataset: Dataset, name: str, verbose: bool = True) -> Trained:
    """Fit a model to a dataset's graph, or load the same fit; its file's name is like a training's.

    Args:
        config (Config): settings of the fit.
        model: not fitted.
        dataset: built; its interactions are the training data.
        name: the model's part in the run, e.g. ``original``; begins the file's name.
        verbose: whether this is logged.
    """
    graph, logger = dataset_graph(dataset), getLogger()
    digested = digest(config.training_settings(), config["device"].type, graph.users, graph.items)
    code = training_code(config["device"], 1, type(model))
    file = os.path.join(config["checkpoint_dir"], f"{name}-{config['model']}-{config['dataset']}-{digested}-{code}.pth")
    with checkpoint.alone(file) as waited:  # if another process makes the same fit, wait for it and load its result
        if os.path.exists(file):
            kept = checkpoint.load(file, config["device"])
            model.set_state(kept["state"])
            logger.info(set_color("Fitted before", "blue") + f" in {kept['seconds']:.1f}s: {file}")
            seconds = kept["seconds"]
            return Trained(model.eval(), seconds, max(0.0, seconds - waited), kept["peak_memory_mb"], file)
        if verbose:
            logger.info(set_color(f"Fitting {name}", "pink") + f": {config['model']} to {len(graph)} interactions")
        with measured(config["device"], within=True) as cost:
            model = model.fitted(graph)
        kept = {"state": model.state, "seconds": cost.seconds, "peak_memory_mb": cost.peak_memory_mb}
        checkpoint.save(file, kept)
    return Trained(model, cost.seconds, 0.0, cost.peak_memory_mb, file)
