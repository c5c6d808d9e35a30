"""Training a backbone with RecBole's epochs and early stopping."""

from dataclasses import dataclass

from recbole.utils import init_seed, set_color

from recbole_unlearn.data.request import digest
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender, dataset_graph
from recbole_unlearn.trainer.resumable import ResumableTrainer


@dataclass(frozen=True)
class Trained:
    """A trained backbone.

    Args:
        model: in evaluation mode.
        seconds (float): what its training took in all.
        seconds_before (float): the part of it that earlier runs had spent; this one went on from there.
    """

    model: UnlearnableRecommender
    seconds: float
    seconds_before: float


def train_backbone(config, dataset, name, valid_data=None):
    """Train a fresh ``config["model"]`` on a dataset with RecBole's epochs and early stopping.

    Args:
        config (Config): settings of the backbone.
        dataset (Dataset): built; its interactions are the training data.
        name (str): the model's part in the run, e.g. ``original``; begins the file's name.
        valid_data: RecBole's evaluation loader for early stopping; ``None`` trains for all epochs.

    Returns:
        Trained: the model, in evaluation mode. The same training is loaded, not repeated: its file's name is a digest
        of the settings and of the edges themselves.
    """
    init_seed(config["seed"], config["reproducibility"])
    graph = dataset_graph(dataset)
    model = MODELS[config["model"]](config, dataset).to(config["device"])
    content = digest(config.training_settings(), config["device"].type, graph.users, graph.items, *_edges_behind(valid_data))
    trainer = ResumableTrainer(config, model, f"{name}-{config['model']}-{config['dataset']}-{content}")
    trainer.logger.info(set_color(f"Training {name}", "pink") + f": {config['model']} on {len(graph)} interactions")
    if len(graph) == 0:
        return Trained(model.eval(), 0.0, 0.0)  # nothing to learn from: the model stays as it was drawn
    trainer.fit(train_loader(config, dataset, graph), valid_data, show_progress=config["show_progress"])
    model.eval()
    return Trained(model, trainer.seconds, trainer.seconds_before)


def _edges_behind(valid_data):
    """What early stopping depends on: the edges that a loader's users are ranked with, those it hides included."""
    if valid_data is None:
        return []
    parts = [valid_data._dataset, *getattr(valid_data._sampler, "datasets", [])[:1]]
    return [part.inter_feat[field] for part in parts for field in (part.uid_field, part.iid_field)]
