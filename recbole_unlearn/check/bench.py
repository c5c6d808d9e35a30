"""A backbone on a workbench: built, with weights and a batch, for checks that may change it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_unlearn.check.hold import hold
from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import rankable, train_loader
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.streams import begin_stream, torch_stream

SHARE = 10  # one of so many edges is forgotten


def some_edges(graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    """The users and items of the edges that a check forgets, every tenth one."""
    return graph.users[::SHARE], graph.items[::SHARE]


@dataclass(frozen=True)
class Bench:
    """A backbone before its training, in training mode, with weights of a size at which losses are not linear.

    Args:
        config: settings.
        train: built; its interactions are the training data.
        model: built on ``train``.
    """

    config: Config
    train: Dataset
    model: UnlearnableRecommender

    @classmethod
    def of(cls, config: Config, train: Dataset) -> "Bench":
        """Build the model that the settings name."""
        return cls(config, train, fresh(config, train).train())

    @property
    def name(self) -> str:
        """The model's."""
        return type(self.model).__name__

    @cached_property
    def graph(self) -> Graph:
        """The edges of ``train``."""
        return dataset_graph(self.train)

    @cached_property
    def forgotten(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Users and items of the edges of a request."""
        return some_edges(self.graph)

    @cached_property
    def remaining_graph(self) -> Graph:
        """The edges without the request."""
        return self.graph.without(*self.forgotten)

    @cached_property
    def batch(self) -> Interaction:
        """Users, items and negative items."""
        begin_stream(self.config, "a batch to check")
        return next(iter(train_loader(self.config, rankable(self.train)))).to(self.config["device"])

    def loss_of(self, model: UnlearnableRecommender) -> torch.Tensor:
        """The loss of the batch in the first epoch of a model's training, with the same draws for each; detached."""
        batch = self.batch  # has a stream of its own
        begin_stream(self.config, "a loss to check")
        model.epoch = 0
        loss = model.train().calculate_loss(batch)
        model.epoch = None
        model.eval()
        return torch.as_tensor(loss).detach()

    def other_table(self) -> torch.Tensor:
        """A table that is not the model's own, shape ``(N, d)``."""
        generator = torch_stream(self.config["seed"], "another table to check")
        return torch.randn(self.model.ego_embeddings().shape, generator=generator).to(self.model.device)


def fresh(config: Config, dataset: Dataset) -> UnlearnableRecommender:
    """A new model on a dataset, with the same weights for each.

    Raises:
        UsageError: it has no graph, or its table has two widths.
    """
    begin_stream(config, "weights to check")
    model = MODELS[config["model"]](config, dataset).to(config["device"])
    if not hasattr(model, "graph"):
        raise UsageError(f"{config['model']}.__init__ must end with self.set_graph(dataset_graph(dataset)).")
    sides = [getattr(model, f"{side}_embedding", None) for side in ("user", "item")]
    users, items = (side.embedding_dim if isinstance(side, torch.nn.Embedding) else None for side in sides)
    if users and items and users != items:
        raise UsageError(
            f"{config['model']}.user_embedding is {users} wide and item_embedding {items}: a table has one width."
        )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def numbers(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """All arrays and tensors that a model holds, by their names."""
    found: dict[str, np.ndarray] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, entry in value.items():
                collect(f"{name}.{key}", entry)
        elif isinstance(value, (list, tuple)):
            for key, entry in enumerate(value):
                collect(f"{name}.{key}", entry)
        elif isinstance(value, torch.Tensor):
            found[name] = (value.detach().to_dense() if value.layout != torch.strided else value.detach()).cpu().numpy()
        elif sp.issparse(value):
            found[name] = value.toarray()
        elif isinstance(value, (np.ndarray, pd.Series)) and np.asarray(value).dtype.kind in "biuf":
            found[name] = np.asarray(value)

    for key, value in vars(model).items():
        if key not in ("_parameters", "_buffers", "_modules"):
            collect(key, value)
    for key, value in (*model.named_parameters(), *model.named_buffers()):
        collect(key, value)
    return found


def buffers_stay(model: torch.nn.Module, name: str, step: Callable[[], object]) -> None:
    """Refuse a model whose buffers change in a step of training: no method revises what they learn.

    Raises:
        UsageError: names the first that does.
    """
    before = {key: buffer.detach().clone() for key, buffer in model.named_buffers()}
    step()
    for key, buffer in model.named_buffers():
        hold(
            key in before and torch.equal(buffer, before[key]),
            f"{name} changes '{key}' while it trains, which no method revises: make it a trained parameter, or compute "
            "it from the graph in set_graph.",
        )
