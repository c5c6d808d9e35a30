"""A receipt's measures of a model before and after: utility on validation data, and scores of forgotten pairs."""

import numpy as np
import torch
from scipy.special import expit

from recbole_unlearn.data.sampler import draw_negatives
from recbole_unlearn.evaluator.metrics import auc, matching_weights
from recbole_unlearn.evaluator.ranking import ranking_metrics
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import pair_scores

N_NEGATIVES = 20_000
K = 20


class Measures:
    """Measures every model of a request in the same way.

    The encoder is fitted on ``valid``. So forgotten pairs are compared with the positives of ``test`` alone, which
    neither the model nor the encoder has seen.

    Args:
        seen: training edges before the request, excluded from rankings. All graphs are on the models' device.
        remaining: training edges after the request.
        valid, test: held-out positives that remain.
        forgotten: users and items of the forgotten training pairs.
        generator: draws pairs without interactions.
    """

    def __init__(
        self,
        seen: Graph,
        remaining: Graph,
        valid: Graph,
        test: Graph,
        forgotten: tuple[torch.Tensor, torch.Tensor],
        generator: torch.Generator,
    ):
        self.seen, self.valid = seen, valid
        observed = Graph.union(seen, valid, test).to("cpu")
        size = min(N_NEGATIVES, (seen.n_users - 1) * (seen.n_items - 1) - len(observed))
        self.pairs = {
            "forget": forgotten,
            "negative": draw_negatives(observed, size, generator),
            "test": (test.users, test.items),
        }
        popularity = remaining.degrees()[remaining.n_users :].cpu()
        of = {name: popularity[items.cpu()].numpy() for name, (_, items) in self.pairs.items()}
        self.matched = {name: matching_weights(of["forget"], of[name]) for name in ("negative", "test")}

    def scores(self, final: torch.Tensor) -> dict[str, np.ndarray]:
        """Scores of the forgotten, negative and test pairs, from final embeddings of shape ``(N, d)``."""
        device = final.device
        pairs = {name: (users.to(device), items.to(device)) for name, (users, items) in self.pairs.items()}
        return {name: pair_scores(final, self.seen.n_users, *pair).cpu().numpy() for name, pair in pairs.items()}

    def __call__(self, final: torch.Tensor) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """All measures of final embeddings of shape ``(N, d)``, and the scores that they are computed from."""
        scores = self.scores(final)
        ranking = ranking_metrics(final, self.seen, self.valid, K)
        mean = float(expit(scores["forget"].astype(np.float64)).mean()) if len(scores["forget"]) else float("nan")
        measures = {
            **ranking,
            "mean probability": mean,
            "AUC_FN": auc(scores["forget"], scores["negative"], *self.matched["negative"]),
            "AUC_FT": auc(scores["forget"], scores["test"], *self.matched["test"]),
        }
        return measures, scores
