"""A method's work on a sequence of requests: each from the last result, or from nothing at the measured points."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from recbole_unlearn.cost import Cost, measured
from recbole_unlearn.evaluator.stages import costed_stages
from recbole_unlearn.method import METHODS, Stage
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.sequence.requests import following, union_of
from recbole_unlearn.task import UnlearningData


@dataclass(frozen=True)
class Answer:
    """What a method makes of one request.

    Args:
        after: number of requests forgotten so far, this one included.
        stage: its last one, or one of several trainings.
        cost: from the request to a model that can be served.
        offline: the preparation before the first request.
        between: seconds to get ready for this request after the last one.
    """

    after: int
    stage: Stage
    cost: Cost
    offline: Cost
    between: float = 0.0


def answers(
    name: str,
    config: Any,
    data: UnlearningData,
    original: UnlearnableRecommender,
    users: torch.Tensor,
    points: Sequence[int],
) -> Iterator[Answer]:
    """Let a method forget one user after the other.

    Args:
        name: of a registered method.
        config (Config): settings.
        data: the run's data.
        original: the trained model.
        users: ids, shape ``(n,)``.
        points: numbers of requests after which a method without memory works; the others answer each request.

    Raises:
        Diverged: no usable result.
        NotImplementedError: the method cannot go on from its own result.
    """
    if METHODS[name].memoryless:
        for after in points:
            # Streams of its own: what two points differ by is then no luck that they share.
            stream = config.stream("sequence", after)
            for stage, cost, offline in _stages(name, stream, union_of(data, users[:after]), original):
                yield Answer(after, stage, cost, offline)
        return
    with _quick_collections():
        yield from _one_after_the_other(name, config, union_of(data, users[:1]), original, users)


@contextmanager
def _quick_collections():
    """Each measurement collects garbage: it need not look through the objects of the libraries each time."""
    frozen_before = gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if not frozen_before:
            gc.unfreeze()


def _stages(name, config, data, original):
    data = data.cold()
    method = METHODS[name](config, data, original.served(data.graph))
    offline = _prepared(method, config["device"])
    yield from ((stage, cost, offline) for stage, cost in costed_stages(method, config["device"]))


def _one_after_the_other(name, config, data, original, users):
    data, device = data.cold(), config["device"]
    method = METHODS[name](config, data, original.served(data.graph))
    offline, between = _prepared(method, device), Cost()
    for after in range(1, len(users) + 1):
        *_, (stage, cost) = costed_stages(method, device)
        yield Answer(after, stage, cost, offline, between.seconds)
        if after < len(users):
            with measured(device) as between:
                data = following(data, users[after])
                method = method.continued(data, stage.model)


def _prepared(method, device):
    with measured(device) as cost:
        seconds_before = method.prepare()
    return Cost(cost.seconds + seconds_before, cost.peak_memory_mb)
