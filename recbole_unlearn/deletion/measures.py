"""What a receipt says of a model before and after: its use on validation data, and how forgotten pairs look in it."""

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
    """Measures any model of a request in the same way.

    The encoder is fitted on ``valid``, so that the positives that forgotten pairs are compared with are those of ``test``
    alone: neither the model nor the encoder has seen them.

    Args:
        seen: training edges before the request, which no ranking shows; on the models' device, as all graphs.
        remaining: training edges after it.
        valid, test: held-out positives that remain.
        forgotten: users and items of the forgotten training pairs.
        generator: draws the pairs never interacted with.
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
        """Scores of the forgotten, negative and test pairs, a numpy array each."""
        device = final.device
        pairs = {name: (users.to(device), items.to(device)) for name, (users, items) in self.pairs.items()}
        return {name: pair_scores(final, self.seen.n_users, *pair).cpu().numpy() for name, pair in pairs.items()}

    def __call__(self, final: torch.Tensor) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """All measures, and the scores behind them, of final embeddings of shape ``(N, d)``."""
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
