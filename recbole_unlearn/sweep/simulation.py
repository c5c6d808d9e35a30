"""Measures settings on simulated requests and validation data, never on the actual request or test data."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, get_args

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.config import Config
from recbole_unlearn.cost import measured
from recbole_unlearn.data.request import ForgetType, request_seed
from recbole_unlearn.data.request_source import SETTINGS as SOURCE
from recbole_unlearn.errors import Diverged, UsageError, unknown
from recbole_unlearn.evaluator.comparison import membership_gaps
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.evaluator.stages import costed_stages
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.task import UnlearningData, prepare_data
from recbole_unlearn.trainer import train_backbone

KINDS = tuple(kind for kind in get_args(ForgetType) if kind != "file")  # a file names one actual request
SEED_SHIFT = 1_000_000  # from the actual request's seed to those of simulated ones
REPETITION_SHIFT = 1_000  # between two of the same kind
SHORTFALL_WEIGHT = 100.0  # of a ranking below the limit: one percent weighs like a factor e in all forgetting metrics
PARTS = ("original", "retrain")

State = dict[str, torch.Tensor]
Report = Callable[[dict[str, Any]], Any]


def simulated_requests(config: Config, kinds: Sequence[str] | None = None, round_: int = 1) -> list[dict[str, Any]]:
    """Settings that simulate requests, one dict each, with validation data in the place of test data.

    Args:
        config: of the actual run.
        kinds: of the requests; default that of the actual one, with a sampled ``forget_ratio`` in the place of named
            users or items or of an item's feature, as many drawn targets in that of named ones, and random interactions
            in that of a file.
        round_: from 1; each round has other requests.

    Raises:
        UsageError: there is no such kind.
    """
    kinds = kinds or ["random" if config["forget_type"] == "file" else config["forget_type"]]
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of request to simulate", kind, KINDS)
    targets = config["forget_spam_targets"]
    n_targets = targets if isinstance(targets, int) else len(targets)
    first = request_seed(config) + round_ * SEED_SHIFT
    return [
        {
            "forget_type": kind,
            "forget_seed": first + kinds[:place].count(kind) * REPETITION_SHIFT,
            **dict.fromkeys(("forget_users", "forget_items", "forget_item_feature", "forget_item_value", *SOURCE)),
            "forget_spam_targets": n_targets,
            "unlearn_measure_on": "valid",
            "report_file": None,
        }
        for place, kind in enumerate(kinds)
    ]


def simulation_settings(config: Config, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method's run on a request of :func:`simulated_requests`, for ``Config(stored=...)``.

    They are plain data with absolute paths, valid in any process and working directory.
    """
    return {
        **config.external_config_dict,
        **request,
        "model": config["model"],
        "dataset": config["dataset"],
        "unlearn_methods": [method],
        "data_path": os.path.dirname(os.path.abspath(config["data_path"])),  # Config has added the dataset's name
        "checkpoint_dir": os.path.abspath(config["checkpoint_dir"]),
        "show_progress": False,
    }


def simulated_data(
    config: Config, method: str, requests: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[UnlearningData]]:
    """The settings and the data of :func:`simulated_requests`; an adversarial request trains its attack."""
    settings = [simulation_settings(config, method, request) for request in requests]
    return settings, [prepare_data(Config(stored=each)) for each in settings]


def train_part(config: Config, data: UnlearningData, part: str) -> State:
    """The state, on the CPU, of the original model or of Retrain's (``PARTS``), trained now or before."""
    dataset = data.train if part == "original" else data.remaining
    model = train_backbone(config, dataset, part, data.valid_data).model
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class Simulation:
    """What all trials on a simulated request share."""

    settings: dict[str, Any]
    data: UnlearningData  # with half of the validation pairs in the place of test data
    original: State
    retrain: dict[str, float]  # Retrain's metrics

    @classmethod
    def of(cls, settings: dict[str, Any], data: UnlearningData, original: State, retrain: State) -> "Simulation":
        """Measure Retrain, and keep what trials need.

        Raises:
            UsageError: Retrain ranks nothing right on validation data, so that nothing can be compared with it.
        """
        config = Config(stored=settings)
        evaluator = UnlearningEvaluator(config, data, model_of(config, data.train, original))
        metrics, _ = evaluator.evaluate(model_of(config, data.remaining, retrain))
        if not metrics[config["valid_metric"].lower()] > 0:
            raise UsageError(f"Retrain's {config['valid_metric']} on validation data is 0; train for more `epochs`.")
        return cls(settings, data, original, metrics)


def model_of(config: Config, dataset: Dataset, state: State) -> UnlearnableRecommender:
    """A trained backbone from its state."""
    model = MODELS[config["model"]](config, dataset).to(config["device"])
    model.load_state_dict(state)
    return model.eval()


def assess(metrics: Mapping[str, float], retrain: Mapping[str, float], config: Config) -> dict[str, float]:
    """Compare metrics with Retrain's; less is better, and 0 is a model with Retrain's metrics.

    ``gap`` is the mean of the four :func:`membership_gaps`, ``utility`` the ``valid_metric`` over Retrain's, and
    ``objective = gap + 100 max(0, unlearn_least_utility - utility)``.

    Raises:
        Diverged: the objective is not finite.
    """
    gap = sum(membership_gaps(metrics, retrain).values()) / 4
    name = config["valid_metric"].lower()
    utility = metrics[name] / retrain[name]
    objective = gap + SHORTFALL_WEIGHT * max(0.0, config["unlearn_least_utility"] - utility)
    if not np.isfinite(objective):
        raise Diverged(
            f"The objective became {objective}: MI-BF {metrics['MI-BF']}, MI-NG {metrics['MI-NG']}, {name} "
            f"{metrics[name]}."
        )
    return {"objective": objective, "gap": gap, "utility": utility}


def measure(simulation: Simulation, point: Mapping[str, Any], report: Report | None = None) -> dict[str, Any]:
    """Prepare the method of ``unlearn_methods`` and forget the simulated request; the last stage counts.

    Args:
        simulation: of a request.
        point: settings to try on it.
        report: takes the first stage's result, with its ``epoch``, after each epoch of the preparation.

    Returns:
        The last stage's result: ``stage``, the values of :func:`assess`, the metrics, ``online_seconds``, ``seconds``
        in all, and ``peak_memory_mb`` of the process.

    Raises:
        Diverged: there is no usable result.
    """
    start = perf_counter()
    config = Config(config_dict=point, stored=simulation.settings)
    original = model_of(config, simulation.data.train, simulation.original)
    evaluator = UnlearningEvaluator(config, simulation.data, original)
    (name,) = config["unlearn_methods"]
    method = METHODS[name](config, simulation.data, original)

    def result(stage, online):
        metrics, _ = evaluator.evaluate(stage.model)
        values = {"stage": stage.name, **assess(metrics, simulation.retrain, config), **metrics}
        costs = {"online_seconds": online.seconds, "seconds": perf_counter() - start}
        return {**values, **costs, "peak_memory_mb": online.peak_memory_mb}

    def after_epoch(report, epoch):
        with suppress(Diverged):  # a later epoch may be fine
            report({"epoch": epoch, **result(*next(costed_stages(method, config["device"])))})

    if report:
        method.after_epoch = partial(after_epoch, report)  # type: ignore[method-assign]
    with measured(config["device"]) as offline:
        method.prepare()
    *_, last = costed_stages(method, config["device"])
    last = result(*last)
    return {**last, "peak_memory_mb": max(offline.peak_memory_mb, last["peak_memory_mb"])}


def measure_all(
    simulations: Iterable[Simulation], point: Mapping[str, Any], report: Report | None = None
) -> dict[str, Any]:
    """Call :func:`measure` on several requests, held one at a time; ``report`` takes the epochs on the first.

    Returns:
        The mean of each number, and the results as ``requests``.
    """
    results: list[dict[str, Any]] = []
    for simulation in simulations:
        results.append(measure(simulation, point, None if results else report))
        del simulation
    return {**means(results), "requests": results}


def means(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of each number of results."""
    return {key: float(np.mean([result[key] for result in results])) for key in results[0] if key != "stage"}
