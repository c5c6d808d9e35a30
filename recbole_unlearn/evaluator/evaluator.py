"""One evaluator for every row of a report: the same held-out items, negatives and matched pairs."""

from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from recbole.trainer import Trainer

from recbole_unlearn.data.sampler import draw_negatives
from recbole_unlearn.evaluator.metrics import logistic_curve, matched_aucs, matched_weights, mi_bf, mi_ng
from recbole_unlearn.evaluator.recbole_metrics import MembershipCollector, UserEvaluator, scores_of
from recbole_unlearn.model.recommender import Recommender
from recbole_unlearn.settings import Count, Settings, Words, setting
from recbole_unlearn.streams import torch_stream


class EvaluationSettings(Settings):
    """Evaluation: RecBole's keys where the plugin's defaults differ, and the forgetting metrics'"""

    eval_batch_size: Count = setting(4000000, "Scores (users x items) computed at a time when evaluating.")
    metrics: list[str] | str = setting(["Recall", "NDCG"], "Evaluation metrics; MI-BF and MI-NG may be among them.")
    topk: Annotated[
        Annotated[list[Count], Field(min_length=1)] | Count, Words("a whole number >= 1 or a list of them")
    ] = setting([20], "The value of k for topk evaluation metrics.")
    valid_metric: str = setting("NDCG@20", "The evaluation metric for early stopping.")
    unlearn_negatives: Count = setting(20000, "Number of pairs never interacted with, for MI-NG and AUC_FN.")


class UnlearningEvaluator:
    """Applies RecBole's ranking metrics and the forgetting metrics to any model.

    Scores of a model that gives no logits become logits by one curve for all rows, a
    :func:`~recbole_unlearn.evaluator.metrics.logistic_curve` of the original's scores of test and negative pairs.

    For every row, metrics of item popularity (AveragePopularity, TailPercentage) count the remaining interactions.

    Args:
        config (Config): settings.
        data (UnlearningData): the run's data.
        original: the model before unlearning.
        audit (Audit): a membership audit, if there is one.
    """

    def __init__(self, config: Any, data: Any, original: Recommender, audit: Any = None) -> None:
        self.audit = audit
        self.test_data = data.test_data
        negatives = draw_negatives(
            data.observed, config["unlearn_negatives"], torch_stream(config["seed"], "negatives")
        )
        test = data.test
        self.pairs = {
            "forget": (data.request.users, data.request.items),
            "negative": negatives,
            "test": (test.users, test.items),
        }
        self.curve = (1.0, 0.0)
        self.before = self.scores(original)
        if not original.gives_logits:
            self.curve = logistic_curve(self.before["test"], self.before["negative"])
            self.before = self.scores(original)
        popularity = data.remaining_graph.degrees()[data.graph.n_users :].numpy()
        items = {name: items.numpy() for name, (_, items) in self.pairs.items()}
        self.matched = matched_weights(items, popularity)
        self.trainer = _EvaluationLoop(config, original)
        self.trainer.eval_collector = MembershipCollector(
            config, {name: self.pairs[name] for name in ("forget", "negative")}, self.before, self.curve
        )
        self.trainer.eval_collector.data_collect(SimpleNamespace(dataset=data.remaining))
        self.trainer.evaluator = UserEvaluator(config)

    def evaluate(self, model: Any) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """All metrics of one model, and the scores behind them.

        Args:
            model: anything with RecBole's ``predict`` and ``full_sort_predict``.

        Returns:
            RecBole's metrics on test data (e.g. ``recall@20``), then ``MI-BF``, ``MI-NG``, ``AUC_FN`` and ``AUC_FT``
            (the AUCs match their other pairs to the forgotten ones on item popularity). And the arrays behind them: the
            model's :meth:`scores`, the ROC of an audit, the values of each ranking metric (e.g. ``ndcg@20``, shape
            ``(U,)``) of the users of the test loader, and these users' ``lists`` of item ids, shape ``(U, K)``, with -1
            behind the last one of a user with fewer candidates.
        """
        self.trainer.model = model
        ranking = self.trainer.evaluate(self.test_data, load_best_model=False)
        after = self.scores(model)
        metrics = {
            **{name: float(value) for name, value in ranking.items()},
            "MI-BF": mi_bf(self.before["forget"], after["forget"]),
            "MI-NG": mi_ng(after["negative"], after["forget"]),
            **matched_aucs(after, self.matched),
        }
        arrays = {**after, **self.trainer.evaluator.of_users, "lists": self.trainer.eval_collector.lists}
        if self.audit:
            rates, curves = self.audit.measure(model)
            metrics, arrays = {**metrics, **rates}, {**arrays, **curves}
        return metrics, arrays

    def scores(self, model: Any) -> dict[str, np.ndarray]:
        """Logits of the forgotten, negative and test pairs."""
        slope, offset = self.curve
        return {name: slope * scores_of(model, *pair) + offset for name, pair in self.pairs.items()}


class _EvaluationLoop(Trainer):
    """RecBole's, for models that nothing optimizes too."""

    def _build_optimizer(self, **kwargs):
        return None
