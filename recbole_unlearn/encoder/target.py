"""The target of forgetting: the score that a model would give a pair had it never trained on it.

A forgotten pair's features (:mod:`recbole_unlearn.encoder.features`) come from what remains. A regression turns them
into a score. Its examples are pairs whose answer is known: those that the original never saw, and those of which a
twin (:mod:`recbole_unlearn.encoder.twin`) saw another part than the original.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import torch

from recbole_unlearn.encoder.features import pair_features
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph, in_any
from recbole_unlearn.loss import pair_scores
from recbole_unlearn.model.base import UnlearnableRecommender

N_TREES, LEARNING_RATE = 100, 0.05
N_DECOYS = 20_000  # that the original itself teaches
CANDIDATES = 1000  # random partners of a node that a decoy is chosen from
UNLIKELY, LOWEST = 0.75, 0.02  # share of decoys, of ranks: what people ask to forget is real, or planted and unlikely
BLOCK = 1024  # nodes scored at a time

Pairs = tuple[torch.Tensor, torch.Tensor]  # users and items, shape (B,) each


@dataclass(frozen=True)
class Examples:
    """Pairs whose score by a model that never saw them is known.

    Args:
        features: as :func:`~recbole_unlearn.encoder.features.pair_features` gives a request's, shape ``(B, n)``.
        scores: shape ``(B,)``.
    """

    features: torch.Tensor
    scores: torch.Tensor


class UnseenScores:
    """A regression from features of pairs to the scores of a model that never saw them.

    Args:
        booster: gradient-boosted trees.
    """

    def __init__(self, booster: lightgbm.Booster) -> None:
        self.booster = booster

    @classmethod
    def fit(cls, *examples: Examples) -> "UnseenScores":
        """Fit to examples, all together.

        Raises:
            UsageError: there are none.
        """
        features = torch.cat([some.features for some in examples]).cpu().numpy()
        scores = torch.cat([some.scores for some in examples]).cpu().numpy()
        if len(scores) == 0:
            raise UsageError("UnlearnRec has nothing to learn from: every user has interacted with every item.")
        settings = {
            "objective": "regression",
            "learning_rate": LEARNING_RATE,
            "verbose": -1,
            "seed": 0,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": torch.get_num_threads(),
        }
        return cls(lightgbm.train(settings, lightgbm.Dataset(features, scores), N_TREES))

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """The expected scores, shape ``(B,)``, for features of shape ``(B, n)``."""
        if len(features) == 0:
            return features.new_zeros(0)
        scores = self.booster.predict(features.cpu().numpy(), num_threads=torch.get_num_threads())
        return torch.from_numpy(np.asarray(scores)).to(features)

    def to_plain(self) -> dict[str, Any]:
        """The regression as text, for a file."""
        return {"booster": self.booster.model_to_string()}

    @classmethod
    def from_plain(cls, state: dict[str, Any]) -> "UnseenScores":
        """The inverse of :meth:`to_plain`."""
        return cls(lightgbm.Booster(model_str=state["booster"]))


@torch.no_grad()
def features_of(
    model: UnlearnableRecommender, graph: Graph, pairs: Pairs, spectrum: Spectrum | None = None
) -> torch.Tensor:
    """Features of pairs by a model's table and a graph that does not hold them, on the model's device.

    Args:
        spectrum: of the graph, if it is known.
    """
    users, items = (side.to(model.device) for side in pairs)
    graph = graph.to(model.device)
    return pair_features(graph, spectrum or Spectrum.of(graph), model.ego_embeddings(), users, items)


def model_scores(model: UnlearnableRecommender, pairs: Pairs) -> torch.Tensor:
    """A model's scores of pairs, on its device."""
    users, items = (side.to(model.device) for side in pairs)
    return pair_scores(model.final_embeddings(), model.n_users, users, items)


def never_seen(model: UnlearnableRecommender, pairs: Pairs, spectrum: Spectrum | None = None) -> Examples:
    """What a model teaches by pairs that it never saw; ``spectrum`` is that of its graph, if it is known."""
    return Examples(features_of(model, model.graph, pairs, spectrum), model_scores(model, pairs))


def held_out_pairs(held_out: Graph, generator: torch.Generator) -> Pairs:
    """At most ``N_DECOYS / 2`` positives that no training saw, drawn at random."""
    kept = torch.randperm(len(held_out), generator=generator)[: N_DECOYS // 2]
    return held_out.users[kept], held_out.items[kept]


def decoys(model: UnlearnableRecommender, observed: Sequence[Graph], n_pairs: int, generator: torch.Generator) -> Pairs:
    """Distinct pairs without an interaction, most of them unlikely to a model, as planted ones are.

    Each is a node, a user or an item alike, with one of ``CANDIDATES`` random partners, ordered by score: three
    quarters among the lowest fiftieth, where each order of magnitude of the rank is as likely as another, the others at
    any rank. All nodes of a side have the same candidates, so that some come up with many nodes, as with real attacks.

    Args:
        model: trained.
        observed: graphs of pairs that must not be drawn, on the CPU.
        n_pairs: wanted; there may be fewer.
        generator: of the draws.
    """
    n_users, n_items = model.n_users, model.n_items
    final = model.final_embeddings().cpu()
    known = torch.stack([graph.degrees() for graph in observed]).any(dim=0)  # nobody asks about others
    if not known.any():
        known = torch.ones_like(known)
        known[[0, n_users]] = False  # the padding
    alive = known.nonzero().squeeze(1)
    near = alive[torch.randint(len(alive), (n_pairs,), generator=generator)]
    anywhere = torch.rand(n_pairs, generator=generator)
    low = LOWEST * (CANDIDATES * LOWEST) ** -torch.rand(n_pairs, generator=generator)  # in [1 / CANDIDATES, LOWEST]
    place = torch.where(torch.rand(n_pairs, generator=generator) < UNLIKELY, low, anywhere)
    candidates = alive[torch.randperm(len(alive), generator=generator)]
    of_users, of_items = (candidates[side][:CANDIDATES] for side in (candidates < n_users, candidates >= n_users))
    drawn = []
    for is_user, far in ((True, of_items), (False, of_users)):
        chosen = (near < n_users) == is_user
        for some, at in zip(near[chosen].split(BLOCK), place[chosen].split(BLOCK)):
            order = (final[some] @ final[far].t()).argsort(dim=1)
            partner = far[order.gather(1, (at * len(far)).long().clamp(max=len(far) - 1)[:, None]).squeeze(1)]
            drawn.append(torch.stack([some, partner] if is_user else [partner, some]))
    users, items = torch.cat(drawn, dim=1)
    items = items - n_users
    pairs = Graph.from_edges(users, items, n_users, n_items)
    pairs = pairs.subgraph(~in_any(observed, pairs.users, pairs.items))
    return pairs.users, pairs.items
