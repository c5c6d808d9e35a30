"""The target of forgetting: the score that a model would give a pair had it never trained on it.

There are many such pairs: validation positives, random non-interactions, each node's least likely partners. A forgotten
pair should score like the ones that resemble it in everything but the memory of its own training.
"""

from typing import Any

import lightgbm
import numpy as np
import torch

from recbole_unlearn.data.attack import least_likely_edges
from recbole_unlearn.data.sampler import draw_negatives
from recbole_unlearn.graph import Graph, propagate
from recbole_unlearn.loss import pair_scores
from recbole_unlearn.model.base import UnlearnableRecommender

N_LAYERS = 3  # layers of propagation in the features
N_TREES = 100
BEYOND_FIRST_LAYER = [4, 5, 7, 8, 9, 10]  # features of layers 2 and 3 of both sides, and the degrees
FAR = 3.0  # standard deviations


def propagated_layers(ego: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
    """``A E, A^2 E, A^3 E``: what the graph says of each node, without its own row, which remembers its pairs.

    The second layer returns a share of that row: the mean of 1 / degree over the node's neighbours.

    Args:
        ego: 0-layer table, shape ``(N, d)``.
        adjacency: sparse CSR, shape ``(N, N)``.

    Returns:
        Shape ``(N, 3, d)``.
    """
    layers = [ego]
    for _ in range(N_LAYERS):
        layers.append(propagate(adjacency, layers[-1]))
    return torch.stack(layers[1:], dim=1)


def inductive_features(
    layers: torch.Tensor, degrees: torch.Tensor, n_users: int, users: torch.Tensor, items: torch.Tensor
) -> torch.Tensor:
    """Dot products of all layers of both sides, and both log degrees, shape ``(B, 11)``.

    Args:
        layers: of :func:`propagated_layers`, shape ``(N, 3, d)``.
        degrees: shape ``(N,)``.
        n_users: nodes that are users.
        users, items: the pairs, shape ``(B,)``.
    """
    products = torch.bmm(layers[users], layers[items + n_users].transpose(1, 2)).flatten(1)
    counts = torch.stack([degrees[users], degrees[items + n_users]], dim=1)
    return torch.cat([products, counts.to(products.dtype).log1p()], dim=1)


class UnseenScores:
    """Regressions from inductive features to a model's scores, fitted on pairs that it was never trained on.

    The first regression sees all layers. The second leaves out the first layer, the mean of the neighbours' rows,
    because these rows learned from the pair too. If the two disagree by far more than they do on unseen pairs, the
    first layer remembers the pair, and the second regression gives the score.

    Args:
        boosters: the regression on all features, and the one without the first layer's.
        spread: standard deviation of their disagreement on unseen pairs.
    """

    def __init__(self, boosters: tuple[lightgbm.Booster, lightgbm.Booster], spread: float) -> None:
        self.boosters, self.spread = boosters, spread

    @classmethod
    def fit(cls, model: UnlearnableRecommender, held_out: Graph, generator: torch.Generator) -> "UnseenScores":
        """Fit to a trained model.

        Args:
            model: on its training graph.
            held_out: positives that it was not trained on (validation data).
            generator: draws the other pairs: as many non-interactions and least likely partners.
        """
        graph = model.graph.to("cpu")
        with torch.no_grad():
            final = model.final_embeddings().cpu()
            layers = propagated_layers(model.ego_embeddings().detach(), model.adjacency).cpu()
        users, items = never_seen_pairs(final, graph, held_out, generator)
        features = inductive_features(layers, graph.degrees(), graph.n_users, users, items).numpy()
        scores = pair_scores(final, graph.n_users, users, items).numpy()
        settings: dict[str, Any] = {
            "objective": "regression",
            "verbose": -1,
            "seed": 0,
            "deterministic": True,
            "force_row_wise": True,
        }
        settings["num_threads"] = torch.get_num_threads()
        views = features, features[:, BEYOND_FIRST_LAYER]
        full, narrow = (lightgbm.train(settings, lightgbm.Dataset(view, scores), N_TREES) for view in views)
        one, other = (np.asarray(booster.predict(view)) for booster, view in zip((full, narrow), views))
        return cls((full, narrow), float((one - other).std()))

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """The expected scores, shape ``(B,)``, for features of shape ``(B, 11)``."""
        if len(features) == 0:
            return features.new_zeros(0)
        values = features.cpu().numpy()
        views, threads = (values, values[:, BEYOND_FIRST_LAYER]), torch.get_num_threads()
        one, other = (
            np.asarray(booster.predict(view, num_threads=threads)) for booster, view in zip(self.boosters, views)
        )
        disagree = abs(one - other) > FAR * self.spread
        return torch.from_numpy(np.where(disagree, other, one)).to(features)

    def to_plain(self) -> dict[str, Any]:
        """The regressions as text and a number, for a file."""
        return {"boosters": [booster.model_to_string() for booster in self.boosters], "spread": self.spread}

    @classmethod
    def from_plain(cls, state: dict[str, Any]) -> "UnseenScores":
        """The inverse of :meth:`to_plain`."""
        full, narrow = (lightgbm.Booster(model_str=text) for text in state["boosters"])
        return cls((full, narrow), state["spread"])


def never_seen_pairs(
    final: torch.Tensor, graph: Graph, held_out: Graph, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Held-out positives, as many random non-interactions, and as many of the nodes' least likely partners.

    Args:
        final: final embeddings, shape ``(N, d)``.
        graph, held_out: training edges, and positives left out of training.
        generator: draws the pairs.

    Returns:
        Users and items.
    """
    observed = Graph.union(graph, held_out)
    unlikely = least_likely_edges(final, observed, min(len(held_out), graph.n_nodes - 2), 0.0, generator)
    random_users, random_items = draw_negatives(observed, len(held_out), generator)
    users = torch.cat([held_out.users, random_users, unlikely.users])
    items = torch.cat([held_out.items, random_items, unlikely.items])
    return users, items
