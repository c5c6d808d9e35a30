"""What a receipt measures of a model before and after: ranking, scores of the forgotten, distance of a training."""

from typing import Any

import numpy as np
import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import draw_negatives
from recbole_unlearn.deletion.requests.resolve import Resolution
from recbole_unlearn.deletion.version.state import State
from recbole_unlearn.evaluator.metrics import logistic_curve, matched_aucs, matched_weights, mean_probability
from recbole_unlearn.evaluator.ranking import metrics_of_scores
from recbole_unlearn.evaluator.recbole_metrics import scores_of
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import Recommender
from recbole_unlearn.streams import torch_stream

N_NEGATIVES = 20_000
K = 20


class Measures:
    """Measures every model of a request in the same way.

    The encoder is fitted on ``valid``. So forgotten pairs are compared with the positives of ``test`` alone, which
    neither the model nor the encoder has seen. Scores that are no logits become some by one curve, as in
    :class:`~recbole_unlearn.evaluator.evaluator.UnlearningEvaluator`.

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
        self.seen, self.valid, self.curve = seen, valid, (1.0, 0.0)
        observed = [graph.to("cpu") for graph in (seen, valid, test)]
        negatives = [ids.to(seen.device) for ids in draw_negatives(observed, N_NEGATIVES, generator)]
        self.pairs = {"forget": forgotten, "negative": negatives, "test": (test.users, test.items)}
        items = {name: items.cpu().numpy() for name, (_, items) in self.pairs.items()}
        self.matched = matched_weights(items, remaining.degrees()[remaining.n_users :].cpu().numpy())

    @classmethod
    def of(cls, before: State, resolution: Resolution) -> "Measures":
        """Of the pairs that requests forget.

        Args:
            before: the state.
            resolution: of the requests, on ``before``.
        """
        device, graph = before.model.device, before.model.graph
        kept = {part: keep.to(device) for part, keep in resolution.keep.items()}
        valid, test = (before.held_out[part].to(device).subgraph(kept[part]) for part in ("valid", "test"))
        forgotten = graph.subgraph(~kept["train"])
        generator = torch_stream(before.config["seed"], "negatives")
        pairs = forgotten.users, forgotten.items
        measures = cls(graph, graph.subgraph(kept["train"]), valid, test, pairs, generator)
        if not before.model.gives_logits:
            scores = measures.scores(before.model)
            measures.curve = logistic_curve(scores["test"], scores["negative"])
        return measures

    def scores(self, model: Recommender) -> dict[str, np.ndarray]:
        """Logits of the forgotten, negative and test pairs."""
        slope, offset = self.curve
        return {name: slope * scores_of(model, *pair) + offset for name, pair in self.pairs.items()}

    def __call__(self, model: Recommender) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """All measures of a model, and the scores that they are computed from."""
        scores = self.scores(model)
        measures = {
            **metrics_of_scores(model.scores, self.seen, self.valid, K),
            "mean probability": mean_probability(scores["forget"]),
            **matched_aucs(scores, self.matched),
        }
        return measures, scores


def drift_of(
    details: dict[str, Any], n_requests: int, n_rows: int, measures: dict[str, dict[str, float]], config: Config
) -> dict[str, Any]:
    """The distance of a model from its last training, and whether to train it again.

    Args:
        details: of the parent version.
        n_requests, n_rows: number of the new requests, and of the rows that they name together.
        measures: before and after.
        config: sets the limits.
    """
    last = details["drift"]
    requests, interactions = last["requests"] + n_requests, last["interactions"] + n_rows
    share = interactions / details["trained_on"]
    before, after = (measures[stage][f"ndcg@{K}"] for stage in ("before", "after"))
    change = after / before if before > 0 and after == after else 1  # none if it cannot be measured
    utility, most = last["utility"] * change, config["unlearn_retrain_share"]
    limits = {
        f"{requests} requests": requests >= config["unlearn_retrain_requests"],
        f"at least {100 * most:g} % of the interactions": share >= most,
        f"NDCG@{K} {utility:.3f} of the last training's": utility < config["unlearn_least_utility"],
    }
    reasons = [reason for reason, reached in limits.items() if reached]
    return {
        "requests": requests,
        "interactions": interactions,
        "share": share,
        "utility": utility,
        "recommend_retraining": bool(reasons),
        "reason": "; ".join(reasons) or None,
    }


def no_drift() -> dict[str, Any]:
    """The drift of a model that was just trained."""
    nothing = {"requests": 0, "interactions": 0, "share": 0.0, "utility": 1.0}
    return {**nothing, "recommend_retraining": False, "reason": None}
