"""RecBole's evaluation, which also gives lists and users' values; MI-BF and MI-NG as RecBole metrics in any yaml."""

from functools import partial
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.evaluator import Evaluator, metric_information, metric_types, metrics_dict
from recbole.evaluator.base_metric import AbstractMetric, TopkMetric
from recbole.evaluator.collector import DataStruct
from recbole.utils import EvaluatorType

from recbole_unlearn.evaluator.metrics import mi_bf, mi_ng
from recbole_unlearn.registry import LIBRARIES
from recbole_unlearn.trainer.collector import TopCollector


class MembershipCollector(TopCollector):
    """The collector of rankings, which also takes the scores of forgotten and negative pairs, and keeps the lists.

    Args:
        config: settings.
        pairs: users and items of the sets ``forget`` and ``negative``.
        before: logits of the original model on the same sets.
        curve: slope and offset that make logits of scores.
    """

    def __init__(
        self,
        config: Config,
        pairs: dict[str, tuple[torch.Tensor, torch.Tensor]],
        before: dict[str, np.ndarray],
        curve: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        super().__init__(config)
        self.pairs, self.curve = pairs, curve
        self.lists = np.empty((0, 0), dtype=np.int32)  # of the last evaluation, as in evaluator/lists.py
        self.data_struct.set("membership.before", before)
        setattr(self.register, "rec.items", True)

    def eval_batch_collect(
        self, scores_tensor: torch.Tensor, interaction: Any, positive_u: torch.Tensor, positive_i: torch.Tensor
    ) -> None:
        """Collect a batch, and where its lists end: RecBole fills up those of users with few candidates."""
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        items = self.data_struct.get("rec.items")[-len(scores_tensor) :].to(scores_tensor.device)
        ends = (scores_tensor.gather(1, items) > -torch.inf).sum(dim=1)
        self.data_struct.update_tensor("list.ends", ends)  # a list of batches would leave holes in the memory

    def get_data_struct(self) -> DataStruct:
        """What RecBole's evaluator reads; the lists are kept."""
        ends = self.data_struct.get("list.ends")
        del self.data_struct["list.ends"]
        collected = super().get_data_struct()
        items = collected.get("rec.items")
        self.lists = items.masked_fill(torch.arange(items.shape[1]) >= ends[:, None], -1).int().numpy()
        return collected

    def model_collect(self, model: Any) -> None:
        """Take the model's scores if a metric needs them."""
        if self.register.need("membership.after"):
            slope, offset = self.curve
            after = {name: slope * scores_of(model, *pair) + offset for name, pair in self.pairs.items()}
            self.data_struct.set("membership.after", after)


class UserEvaluator(Evaluator):
    """RecBole's evaluator, which keeps ``of_users``: a metric's name, e.g. ``ndcg@20``, to each user's value, ``(U,)``.

    Only metrics that are means over users have such values.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.of_users: dict[str, np.ndarray] = {}
        for metric in self.metric_class.values():
            if isinstance(metric, TopkMetric) and type(metric).topk_result is TopkMetric.topk_result:
                metric.topk_result = partial(self._keep, metric)

    def _keep(self, metric, name, value):
        for k in metric.topk:
            self.of_users[f"{name}@{k}"] = value[:, k - 1].astype(np.float32)
        return TopkMetric.topk_result(metric, name, value)


@torch.no_grad()
def scores_of(model: Any, users: torch.Tensor, items: torch.Tensor) -> np.ndarray:
    """A model's scores of pairs through RecBole's ``predict``, as a numpy array of shape ``(B,)``."""
    pairs = Interaction({model.USER_ID: users, model.ITEM_ID: items}).to(model.device)
    return model.predict(pairs).cpu().numpy()


def register_metric(metric: type[AbstractMetric]) -> type[AbstractMetric]:
    """Class decorator: make a metric known to RecBole, so that ``metrics`` may name it; register it before a Config.

    Args:
        metric: a subclass of RecBole's, known by its ``name``, or else by that of the class.
    """
    key = getattr(metric, "name", metric.__name__).lower()
    metrics_dict[key] = metric
    metric_types[key] = metric.metric_type
    metric_information[key] = metric.metric_need
    return metric


def own_metrics(names: list[str] | str) -> dict[str, type[AbstractMetric]]:
    """The metrics among some that a user wrote, by their names: other processes do not know them.

    Args:
        names: of the setting ``metrics``.
    """
    classes = {name: metrics_dict.get(str(name).lower()) for name in ([names] if isinstance(names, str) else names)}
    return {name: cls for name, cls in classes.items() if cls and cls.__module__.partition(".")[0] not in LIBRARIES}


class MembershipMetric(AbstractMetric):
    """A metric of the scores of forgotten and other pairs; implement :meth:`value` and give it a ``name``.

    It has no value while no request is known, as in the training of the original model.
    """

    name: str
    metric_type = EvaluatorType.RANKING
    metric_need = ["membership.after"]

    def calculate_metric(self, dataobject):
        if "membership.after" not in dataobject:
            return {}
        before, after = dataobject.get("membership.before"), dataobject.get("membership.after")
        return {self.name: round(self.value(before, after), self.decimal_place)}

    def value(self, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
        """The metric of one row of a report.

        Args:
            before, after: scores of the sets ``forget`` and ``negative``, by the original and by the row's model.
        """
        raise NotImplementedError


class MIBF(MembershipMetric):
    """Mean probability of forgotten pairs before over after."""

    name = "MI-BF"

    def value(self, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
        return mi_bf(before["forget"], after["forget"])


class MING(MembershipMetric):
    """Mean probability of negative over forgotten pairs."""

    name = "MI-NG"

    def value(self, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
        return mi_ng(after["negative"], after["forget"])


def register_metrics() -> None:
    """Add the metrics to RecBole's registries, which a Config reads; call it before making one."""
    for metric in (MIBF, MING):
        register_metric(metric)
