"""The twin: a second model, trained without some of the original's pairs and with decoys, as a teacher of targets.

What one of the two saw and the other did not is an example of forgetting with a known answer: features by the model
that knew the pair, on the graph without it, and the score by the model that did not.
"""

from dataclasses import dataclass

import torch

from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.encoder.target import Examples, Pairs, decoys, features_of, model_scores
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import UnlearnableRecommender

SHARE = 0.03  # of the edges that the twin does without, and as many decoys
LEAST, MOST = 500, 30_000  # such pairs, but at most a tenth of the edges: fewer teach too little, more teach no more


@dataclass(frozen=True)
class TwinData:
    """What the twin trains on.

    Args:
        removed: edges of the original's graph that the twin does without.
        added: decoys that it trains on in their place.
        shared: the edges of both.
    """

    removed: Pairs
    added: Pairs
    shared: Graph

    @classmethod
    def draw(cls, original: UnlearnableRecommender, held_out: Graph, generator: torch.Generator) -> "TwinData":
        """Draw it for a model.

        Args:
            original: trained.
            held_out: positives outside its training data, which are no decoys.
            generator: of all draws.
        """
        graph = original.graph.to("cpu")
        n_pairs = min(max(LEAST, round(SHARE * len(graph))), MOST, len(graph) // 10)
        chosen = torch.randperm(len(graph), generator=generator)[:n_pairs]
        removed = graph.users[chosen], graph.items[chosen]
        added = decoys(original, (graph, held_out), n_pairs, generator)
        return cls(removed, added, graph.without(*removed))

    def examples(self, original: UnlearnableRecommender, twin: UnlearnableRecommender) -> Examples:
        """What the two models teach."""
        shared = self.shared.to(original.device)
        spectrum = Spectrum.of(shared)
        saw = (original, self.removed), (twin, self.added)
        features = [features_of(model, shared, pairs, spectrum) for model, pairs in saw]
        scores = [model_scores(twin, self.removed), model_scores(original, self.added)]
        return Examples(torch.cat(features), torch.cat(scores))
