"""The contract of an unlearning method."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from typing_extensions import Self

from recbole_unlearn.encoder.rows import lost_nodes, never_seen_rows, without_rows
from recbole_unlearn.errors import NoResult
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.model.recommender import Recommender
from recbole_unlearn.registry import Registry
from recbole_unlearn.settings import Settings

METHODS: "Registry[Unlearner]" = Registry("unlearning method")


@dataclass(frozen=True)
class Stage:
    """One result of a method's online work.

    Args:
        name: e.g. ``zero-shot``; empty if the method has only one stage.
        model: a RecBole recommender (``predict``, ``full_sort_predict``, the id fields and ``device``). An
            :class:`~recbole_unlearn.model.Recommender` is also saved.
        seconds_before: time that an earlier, interrupted run or another process spent on the same work.
        details: further entries of the report, e.g. ``{"shards retrained": 3}``.
        continues: whether it continues the stage before, whose seconds it then includes.
        peak_memory_mb: of its work, if that of this process and its workers together says nothing of it.
    """

    name: str
    model: torch.nn.Module
    seconds_before: float = 0.0
    details: dict = field(default_factory=dict)
    continues: bool = True
    peak_memory_mb: float | None = None


class Unlearner:
    """One unlearning method in one run.

    Implement :meth:`unlearn`, and :meth:`prepare` if the method works before a request comes. Declare the method's
    settings as ``settings``, if it has any, and register the class. The docstring cites the paper.

    Args:
        config (Config): settings, with the method's. ``self.config`` has them with a seed of the method's own.
        data (UnlearningData): the training data. ``prepare`` may read only ``train`` and validation data, ``unlearn``
            also ``request`` and ``remaining``; neither may read test data.
        original: the trained model; never changed.

    Raises:
        NoResult: the model is none of those that the method ``serves``.
    """

    settings: type[Settings] = Settings
    serves: tuple[type[Recommender], ...] = (UnlearnableRecommender,)
    memoryless = False  # a result depends on what remains alone: a sequence of requests need not pass through each

    def __init__(self, config: Any, data: Any, original: Any) -> None:
        self.check_serves(type(original))
        self.config, self.data, self.original = config.stream(type(self).__name__), data, original

    @classmethod
    def check_serves(cls, model: type[Recommender]) -> None:
        """Refuse a model that is none of those that the method ``serves``.

        Raises:
            NoResult: says what the model lacks.
        """
        if not issubclass(model, cls.serves):
            raise NoResult(f"{model.__name__} has no {' or '.join(kind.trait for kind in cls.serves)}")

    def prepare(self) -> float:
        """Do the offline work; returns the seconds that earlier runs spent on it, if it continues theirs."""
        return 0.0

    def after_epoch(self, epoch: int) -> None:
        """Called after each epoch (from 1) of a preparation whose state could then unlearn; a sweep replaces it."""

    def before(self) -> torch.nn.Module:
        """The prepared method's model before any request: the original, unless the method trains its own."""
        return self.original

    def unlearn(self) -> Iterator[Stage]:
        """Do the online work: yield a :class:`Stage` for each stage of the result.

        A later stage may continue an earlier one; its time then includes the earlier one's.

        Raises:
            Diverged: no usable result.
        """
        raise NotImplementedError

    def continued(self, data: Any, model: torch.nn.Module) -> Self:
        """The prepared method for the next request of a sequence, which goes on from its own last result.

        A copy that keeps what ``prepare`` made. Override it if that depends on the table or on the edges.

        Args:
            data (UnlearningData): the last request's remaining data as training data, and the next request.
            model: of the last request's last stage.

        Raises:
            NotImplementedError: the method cannot go on from its own result; the message says why.
        """
        following = copy.copy(self)
        following.config = self.config.stream("next request")
        following.data, following.original = data, model
        return following

    def revised(
        self, model: UnlearnableRecommender, ego: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None
    ) -> UnlearnableRecommender:
        """A model with another table on the remaining graph; nodes that lose their last edge get new rows.

        Args:
            model: to revise.
            ego: shape ``(N, d)``.
            weights: new values of the model's weights besides the table; see ``UnlearnableRecommender.revised``. A
                row of the report says which weights stay as they are.

        Raises:
            NoResult: the table has another shape than the model's.
        """
        shape = tuple(ego.shape)
        if shape != model.table_shape:
            raise NoResult(
                f"{type(self).__name__} revises the model to a table of {shape}, not of {model.table_shape}."
            )
        graph, remaining = self.data.graph, self.data.remaining_graph
        lost = [side.to(ego.device) for side in lost_nodes(graph, remaining)]
        if any(side.any() for side in lost):
            ego = without_rows(ego, lost, never_seen_rows(ego, graph))
        return model.revised(ego, remaining, weights)
