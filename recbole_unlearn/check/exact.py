"""Does a fitted model forget exactly? Checked on a few users and items before a run, and by the contract."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_unlearn.check.bench import some_edges
from recbole_unlearn.check.hold import hold
from recbole_unlearn.config import Config
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import MODELS, ExactRecommender

TOLERANCE = 1e-6  # of scores, relative to the largest


@dataclass(frozen=True)
class Fit:
    """A fitted model, for checks.

    Args:
        model: fitted to ``model.graph``.
    """

    model: ExactRecommender

    @classmethod
    def of(cls, config: Config, train: Dataset) -> "Fit":
        """Fit the model that the settings name.

        Raises:
            ValueError: its state is not as :meth:`~recbole_unlearn.model.exact.ExactRecommender.layout` says.
        """
        model = MODELS[config["model"]](config, train).to(config["device"])
        return cls(model.fitted(model.graph))

    @property
    def name(self) -> str:
        """The model's."""
        return type(self.model).__name__

    @property
    def remaining(self) -> Graph:
        """The edges without a request."""
        graph = self.model.graph
        return graph.without(*some_edges(graph))

    @cached_property
    def forgotten(self) -> ExactRecommender:
        """The model after it."""
        return self.model.forgotten(self.remaining)

    def everybody(self, model: ExactRecommender) -> torch.Tensor:
        """All scores, shape ``(n_users, n_items)``."""
        return model.scores(torch.arange(model.n_users, device=model.device))


def scores_are_those_of_pairs(fit: Fit) -> None:
    """RecBole's ``predict`` and ``full_sort_predict`` both give them."""
    model, graph = fit.model, fit.model.graph
    scores = fit.everybody(model)
    expected = (model.n_users, model.n_items)
    hold(scores.shape == expected, f"{fit.name}.scores gives {tuple(scores.shape)}, not {expected}.")
    pairs = Interaction({model.USER_ID: graph.users, model.ITEM_ID: graph.items}).to(model.device)
    same = torch.allclose(model.predict(pairs), scores[graph.users, graph.items].double())
    hold(same, f"{fit.name}.predict scores unlike its scores.")
    of_all = model.full_sort_predict(pairs).view(len(graph), -1)
    same = torch.allclose(of_all, scores[graph.users], atol=1e-6)  # a product's bits may depend on its number of rows
    hold(same, f"{fit.name}.full_sort_predict scores unlike its scores.")


def forgetting_leaves_the_original_alone(fit: Fit) -> None:
    """Forgetting works on a copy."""
    before = {name: tensor.clone() for name, tensor in fit.model.state.items()}
    n_edges = len(fit.model.graph)
    fit.model.forgotten(fit.remaining)
    same = all(torch.equal(before[name], tensor) for name, tensor in fit.model.state.items())
    hold(same and len(fit.model.graph) == n_edges, f"{fit.name}.forgotten changes the model that it copies.")


def forgetting_is_a_refit(fit: Fit) -> None:
    """After forgetting, the state is that of a fit to what remains, or as near as the class says."""
    items = torch.arange(fit.model.n_items, device=fit.model.device)
    deviation = fit.forgotten.deviation(items)
    hold(
        deviation <= fit.model.limit,
        f"{fit.name}.forget ends with a {fit.model.deviation_of} of {deviation:.2g}, above {fit.model.limit:g}: its "
        "equations are too ill-conditioned, so regularise them more, or mend it.",
    )
    if not fit.model.exact:
        return
    scores, refitted = fit.everybody(fit.forgotten), fit.everybody(fit.model.fitted(fit.remaining))
    difference = float((scores - refitted).abs().max() / refitted.abs().max().clamp(min=1e-30))
    hold(
        difference <= TOLERANCE,
        f"{fit.name}.forget is not exact: scores differ from a refit's by {difference:.2g} of the largest. Mend it, or "
        "set `exact = False` and say in `deviation` how near it ends.",
    )


def fitting_again_is_equal(fit: Fit) -> None:
    """The same graph and seed give the same state."""
    again = fit.model.fitted(fit.model.graph).state
    same = all(torch.equal(tensor, again[name]) for name, tensor in fit.model.state.items())
    hold(same, f"{fit.name}.fit draws at random without self.seed: two fits to the same graph differ.")


CHECKS: tuple[Callable[[Fit], None], ...] = (
    scores_are_those_of_pairs,
    forgetting_leaves_the_original_alone,
    forgetting_is_a_refit,
    fitting_again_is_equal,
)
