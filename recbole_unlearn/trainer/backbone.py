"""Training a backbone with RecBole's epochs and early stopping."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from recbole.data.dataset import Dataset
from recbole.utils import set_color

from recbole_unlearn.cost import give_back_memory
from recbole_unlearn.data.examples import ExampleLoader
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.digest import digest
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.model.exact import ExactRecommender
from recbole_unlearn.model.network import NetworkRecommender
from recbole_unlearn.model.recommender import MODELS
from recbole_unlearn.model.weights import check_weights
from recbole_unlearn.streams import begin_stream
from recbole_unlearn.trainer.column_parallel import ColumnParallelTrainer
from recbole_unlearn.trainer.fitted import fit
from recbole_unlearn.trainer.resumable import ResumableTrainer
from recbole_unlearn.trainer.trained import Trained


def train_backbone(config: Any, dataset: Dataset, name: str, valid_data: Any = None, verbose: bool = True) -> Trained:
    """Train a fresh ``config["model"]`` on a dataset, see :func:`train`, or fit it.

    Its ``name`` also names its random stream.

    Raises:
        UsageError: the model trains weights besides its table that it does not name.
    """
    config = config.stream(name)
    give_back_memory()
    begin_stream(config, "weights")
    model = MODELS[config["model"]](config, dataset)
    if isinstance(model, ExactRecommender):
        return fit(config, model, dataset, name, verbose)
    if isinstance(model, NetworkRecommender):
        return train(config, model, dataset, name, valid_data, verbose=verbose)
    check_weights(model)
    trainer_class = ColumnParallelTrainer if config["nproc"] > 1 else ResumableTrainer
    return train(config, model, dataset, name, valid_data, trainer_class=trainer_class, verbose=verbose)


def train(
    config: Any,
    model: UnlearnableRecommender | NetworkRecommender,
    dataset: Dataset,
    name: str,
    valid_data: Any = None,
    content: Sequence[Any] = (),
    trainer_class: Callable[..., ResumableTrainer] = ResumableTrainer,
    verbose: bool = True,
) -> Trained:
    """Train a model on a dataset with RecBole's epochs and early stopping.

    Args:
        config (Config): settings of the training.
        model: with its initial weights.
        dataset: built; its interactions are the training data.
        name: the model's part in the run, e.g. ``original``; begins the file's name.
        valid_data: RecBole's evaluation loader for early stopping; ``None`` trains for all epochs.
        content: tensors and plain values that the result also depends on.
        trainer_class: makes a :class:`ResumableTrainer`.
        verbose: whether epochs are logged.

    Returns:
        The model, in evaluation mode. A training that finished before is loaded, not repeated: its file's name has a
        digest of the settings, the content and the edges, and one of the code; see :class:`ResumableTrainer`.
    """
    model = model.to(config["device"])
    graph = dataset_graph(dataset)
    edges = graph.users, graph.items, *_edges_behind(valid_data)
    buffers = model.buffers() if isinstance(model, NetworkRecommender) else ()  # e.g. the order of the edges
    digested = digest(config.training_settings(), config["device"].type, *edges, *buffers, *content)
    trainer = trainer_class(config, model, f"{name}-{config['model']}-{config['dataset']}-{digested}")
    if verbose:
        trainer.logger.info(set_color(f"Training {name}", "pink") + f": {config['model']} on {len(graph)} interactions")
    if len(graph) == 0:
        return Trained(model.eval(), 0.0, 0.0)  # nothing to learn from: the model keeps its initial weights
    if torch.is_anomaly_enabled() and verbose:
        trainer.logger.warning(
            "torch's anomaly detection is on, as after an import of RecBole's sequential models: training is slower. "
            "Turn it off with torch.autograd.set_detect_anomaly(False), e.g. in the file of your --import."
        )
    show_progress = config["show_progress"] and verbose
    trainer.fit(loader_of(config, model, dataset, graph), valid_data, verbose, show_progress=show_progress)
    model.eval()
    return Trained(model, trainer.seconds, trainer.seconds_before, trainer.peak_memory_mb, trainer.saved_model_file)


def loader_of(
    config: Any, model: UnlearnableRecommender | NetworkRecommender, dataset: Dataset, graph: Graph | None = None
) -> Any:
    """The loader of a training's batches: of pairs with negative items, or of a network's examples.

    Args:
        config (Config): settings of the training.
        model: on the graph that it learns.
        dataset: built; the interactions to learn.
        graph: its edges, if they are at hand.
    """
    if isinstance(model, NetworkRecommender):
        return ExampleLoader(config, dataset, model.examples(), model.batch)
    return train_loader(config, dataset, graph)


def _edges_behind(valid_data):
    """The edges that early stopping depends on: those that a loader ranks, and those that it hides."""
    if valid_data is None:
        return []
    parts = [valid_data._dataset, *getattr(valid_data._sampler, "datasets", [])[:1]]
    return [part.inter_feat[field] for part in parts for field in (part.uid_field, part.iid_field)]
