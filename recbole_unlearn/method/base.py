"""What an unlearning method is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from recbole_unlearn.encoder.rows import lost_nodes, never_seen_rows, without_rows
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.registry import Registry

METHODS = Registry("unlearning method")


@dataclass(frozen=True)
class Stage:
    """One result of a method's online work.

    Args:
        name: e.g. ``zero-shot``; empty if the method has one stage only.
        model: a RecBole recommender (``predict``, ``full_sort_predict``, the id fields and ``device``); one that is an
            :class:`~recbole_unlearn.model.UnlearnableRecommender` is also saved.
        seconds_before: what an earlier, interrupted run of the same work had spent on it.
        details: what a reader of the report should know, e.g. ``{"shards retrained": 3}``.
    """

    name: str
    model: torch.nn.Module
    seconds_before: float = 0.0
    details: dict = field(default_factory=dict)


class Unlearner:
    """One unlearning method in one run.

    Implement :meth:`unlearn`, and :meth:`prepare` if there is something to do before a request comes; add a yaml
    ``properties/method/<Name>.yaml`` and register the class. The docstring cites the paper.

    Args:
        config (Config): settings, with the method's yaml.
        data (UnlearningData): the training data. ``prepare`` may look at ``train`` and validation data only,
            ``unlearn`` also at ``request`` and ``remaining``; neither at test data.
        original: the trained model; never changed.
    """

    def __init__(self, config: Any, data: Any, original: UnlearnableRecommender) -> None:
        self.config, self.data, self.original = config, data, original

    def prepare(self) -> float:
        """Offline work; returns the seconds that earlier runs had spent on it, if it continued theirs."""
        return 0.0

    def after_epoch(self, epoch: int) -> None:
        """Called after each epoch (from 1) of a preparation that trains epoch by epoch and could be unlearned with by then;
        a sweep puts its own function here."""

    def before(self) -> torch.nn.Module:
        """The prepared method's model before any request: the original, unless the method needs one of its own."""
        return self.original

    def unlearn(self) -> Iterator[Stage]:
        """Online work: yield a :class:`Stage` for each stage of the result.

        A later stage may go on from an earlier one: its time then includes the earlier one's.

        Raises:
            Diverged: there is no usable result.
        """
        raise NotImplementedError

    def revised(self, model: UnlearnableRecommender, ego: torch.Tensor) -> UnlearnableRecommender:
        """A model with another table on the remaining graph; a node that lost its last edge keeps nothing of its row."""
        graph, remaining = self.data.graph, self.data.remaining_graph
        lost = [side.to(ego.device) for side in lost_nodes(graph, remaining)]
        return model.revised(without_rows(ego, lost, never_seen_rows(ego, graph)), remaining)
