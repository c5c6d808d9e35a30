"""Does a network read and learn its graph alone? Checked on a few users and items before a run, and by the contract."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_unlearn.check.bench import buffers_stay, fresh, numbers, some_edges
from recbole_unlearn.check.hold import hold
from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges_of
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import NetworkRecommender


@dataclass(frozen=True)
class Net:
    """A network before its training, with weights of a size at which it is not linear.

    Args:
        config: settings.
        train: built; its interactions are the training data.
        model: built on ``train``, in evaluation mode.
    """

    config: Config
    train: Dataset
    model: NetworkRecommender

    @classmethod
    def of(cls, config: Config, train: Dataset) -> "Net":
        """Build the model that the settings name."""
        return cls(config, train, fresh(config, train).eval())

    @property
    def name(self) -> str:
        """The model's."""
        return type(self.model).__name__

    @property
    def remaining(self) -> Graph:
        """The edges without a request."""
        graph = self.model.graph
        return graph.without(*some_edges(graph))

    def losses(self, model: NetworkRecommender) -> torch.Tensor:
        """The losses of all of a model's examples."""
        return model.losses(model.batch(model.examples()))


def losses_are_one_an_example(bench: Net) -> None:
    """Finite, the same at each call, and with a gradient for every weight."""
    model, name = bench.model, bench.name
    losses, count = bench.losses(model), len(model.examples())
    hold(
        losses.shape == (count,) and bool(losses.isfinite().all()),
        f"{name}.losses gives {tuple(losses.shape)} for a batch of {count} examples, or is not finite.",
    )
    hold(
        torch.equal(losses, bench.losses(model)),
        f"{name}.losses draws at random in evaluation mode, where two losses must differ by their data alone.",
    )
    hold(losses.requires_grad, f"{name}.losses has no gradient: something detaches it.")
    weights = model.weights()
    gradients = torch.autograd.grad(losses.sum(), list(weights.values()), allow_unused=True)
    for weight, gradient in zip(weights, gradients):
        hold(
            gradient is not None and bool(gradient.isfinite().all()),
            f"The loss of {name} does not train {weight}, or its gradient is not finite.",
        )


def training_changes_weights_alone(bench: Net) -> None:
    """What a step of training leaves in a buffer no method revises."""
    model = bench.model
    buffers_stay(model, bench.name, lambda: bench.losses(model.train()))
    model.eval()


def on_graph_is_a_fresh_model_on_the_remaining_data(bench: Net) -> None:
    """Nothing of the forgotten edges stays: not in the input, in the targets or in a buffer; the original stays."""
    model, name, everybody = bench.model, bench.name, torch.arange(bench.model.n_users, device=bench.model.device)
    graph, before, scores = model.graph, {k: v.copy() for k, v in numbers(model).items()}, model.scores(everybody)
    moved = model.on_graph(bench.remaining)
    hold(not moved.training, f"{name}.on_graph returns a model in training mode.")
    expected = fresh(bench.config, with_edges_of(bench.train, bench.remaining)).eval()
    kept, new = numbers(moved), numbers(expected)
    for key in kept.keys() & new.keys():
        hold(
            kept[key].shape == new[key].shape and np.allclose(kept[key], new[key], atol=1e-6, equal_nan=True),
            f"{name}.on_graph keeps '{key}' as it was computed from all data, forgotten ones included: compute it in "
            "set_graph.",
        )
    hold(
        torch.allclose(moved.scores(everybody), expected.scores(everybody), atol=1e-5),
        f"{name}.on_graph scores unlike a new {name} on the remaining data with the same weights.",
    )
    mine, theirs = bench.losses(moved), bench.losses(expected)
    hold(
        mine.shape == theirs.shape and torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5),
        f"{name}.on_graph learns other examples than a new {name} on the remaining data.",
    )
    after = numbers(model)
    same = model.graph is graph and all(np.array_equal(after[key], before[key], equal_nan=True) for key in before)
    hold(
        same and torch.equal(model.scores(everybody), scores),
        f"{name}.on_graph changes the model that it is called on.",
    )


def scores_are_log_probabilities(bench: Net) -> None:
    """One of each item, which sum to 1; and ``predict`` and ``full_sort_predict`` give the same."""
    model, name, graph = bench.model, bench.name, bench.model.graph
    pairs = Interaction({model.USER_ID: graph.users, model.ITEM_ID: graph.items})
    scores = model.scores(graph.users)
    hold(
        scores.shape == (len(graph), model.n_items)
        and torch.allclose(scores.exp().sum(dim=1), torch.ones(len(graph), device=scores.device), atol=1e-3),
        f"{name}.scores must be the logarithms of the probabilities of all {model.n_items} items.",
    )
    picked = scores[torch.arange(len(graph)), graph.items].double()
    hold(
        torch.allclose(model.predict(pairs).double(), picked, atol=1e-4)
        and torch.allclose(model.full_sort_predict(pairs).view_as(scores), scores, atol=1e-4),
        f"{name}.predict or full_sort_predict scores unlike scores.",
    )


CHECKS: tuple[Callable[[Net], None], ...] = (
    losses_are_one_an_example,
    training_changes_weights_alone,
    on_graph_is_a_fresh_model_on_the_remaining_data,
    scores_are_log_probabilities,
)
