"""Measures settings on simulated requests and validation data, never on the actual request or test data."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, get_args

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.config import Config
from recbole_unlearn.data.request import ForgetType, request_seed
from recbole_unlearn.errors import Diverged, UsageError, unknown
from recbole_unlearn.evaluator.comparison import membership_gaps
from recbole_unlearn.evaluator.cost import costed_stages, measured
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
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


def simulated_kinds(config: Config, kinds: Sequence[str] | None = None) -> Sequence[str]:
    """The kinds of requests to simulate: those given, or that of the actual request.

    A sampled ``forget_ratio`` stands in for named users or items, and random interactions for those of a file.

    Raises:
        UsageError: there is no such kind.
    """
    kinds = kinds or ["random" if config["forget_type"] == "file" else config["forget_type"]]
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of request to simulate", kind, KINDS)
    return kinds


def simulated_requests(config: Config, kinds: Sequence[str], round_: int) -> list[dict[str, Any]]:
    """Settings that replace the actual request by a simulated one, and test data by validation data.

    Args:
        config: of the actual run.
        kinds: of :func:`simulated_kinds`.
        round_: from 1; each round has other requests.

    Returns:
        One dict per kind; each replaces some settings of the run.
    """
    return [
        {
            "forget_type": kind,
            "forget_seed": request_seed(config) + round_ * SEED_SHIFT + kinds[:place].count(kind) * REPETITION_SHIFT,
            "forget_users": None,
            "forget_items": None,
            "forget_file": None,
            "unlearn_measure_on": "valid",
            "report_file": None,
        }
        for place, kind in enumerate(kinds)
    ]


def simulation_settings(config: Config, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method's run on a simulated request, valid in any process and working directory.

    Args:
        config: of the actual run.
        method: to try.
        request: of :func:`simulated_requests`.

    Returns:
        Plain data with absolute paths, enough for ``Config(stored=...)``.
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
    config: Config, method: str, kinds: Sequence[str], round_: int
) -> tuple[list[dict[str, Any]], list[UnlearningData]]:
    """Settings (:func:`simulation_settings`) and data of simulated requests; an adversarial one trains its attack.

    Args:
        config, kinds, round_: see :func:`simulated_requests`.
        method: to try.
    """
    settings = [simulation_settings(config, method, request) for request in simulated_requests(config, kinds, round_)]
    return settings, [prepare_data(Config(stored=each)) for each in settings]


def train_part(config: Config, data: UnlearningData, part: str) -> State:
    """Train the original model of a simulated request, or Retrain's, or load it if it was trained before.

    Args:
        config: of :func:`simulation_settings`.
        data: of the request.
        part: one of ``PARTS``.

    Returns:
        The state of the model, tensors on the CPU.
    """
    dataset = data.train if part == "original" else data.remaining
    model = train_backbone(config, dataset, part, data.valid_data).model
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class Simulation:
    """What all trials on a simulated request share.

    Args:
        settings: of :func:`simulation_settings`.
        data: with half of the validation pairs in the place of test data.
        original: state of the original model.
        retrain: Retrain's metrics.
    """

    settings: dict[str, Any]
    data: UnlearningData
    original: State
    retrain: dict[str, float]

    @classmethod
    def of(cls, settings: dict[str, Any], data: UnlearningData, original: State, retrain: State) -> "Simulation":
        """Make one from the states of both models.

        Raises:
            UsageError: Retrain ranks nothing right on validation data, so that nothing can be compared with it.
        """
        config = Config(stored=settings)
        models = [
            model_of(config, dataset, state) for dataset, state in ((data.train, original), (data.remaining, retrain))
        ]
        metrics, _ = UnlearningEvaluator(config, data, models[0]).evaluate(models[1])
        if not metrics[config["valid_metric"].lower()] > 0:
            raise UsageError(f"Retrain's {config['valid_metric']} on validation data is 0; train for more `epochs`.")
        return cls(settings, data, original, metrics)


def model_of(config: Config, dataset: Dataset, state: State) -> UnlearnableRecommender:
    """A trained backbone from its state."""
    model = MODELS[config["model"]](config, dataset).to(config["device"])
    model.load_state_dict(state)
    return model.eval()


def assess(metrics: Mapping[str, float], retrain: Mapping[str, float], config: Config) -> dict[str, float]:
    r"""Compare metrics with Retrain's.

    .. math::
        \mathrm{gap} &= \tfrac14 \Big( \big|\ln \tfrac{\text{MI-BF}}{\text{MI-BF}_R}\big|
            + \big|\ln \tfrac{\text{MI-NG}}{\text{MI-NG}_R}\big| + |\mathrm{AUC_{FN}} - \mathrm{AUC}_{\mathrm{FN},R}|
            + |\mathrm{AUC_{FT}} - \mathrm{AUC}_{\mathrm{FT},R}| \Big), \qquad \mathrm{utility} = \frac{m}{m_R} \\
        \mathrm{objective} &= \mathrm{gap} + 100 \max(0, u - \mathrm{utility})

    with :math:`m` the ``valid_metric`` and :math:`u` the setting ``unlearn_least_utility``. Less is better; a model
    with Retrain's metrics has an objective of 0.

    Args:
        metrics, retrain: of the evaluator.
        config: settings.

    Returns:
        ``objective``, ``gap`` and ``utility``.

    Raises:
        Diverged: the objective is not finite.
    """
    gap = sum(membership_gaps(metrics, retrain).values()) / 4
    name = config["valid_metric"].lower()
    utility = metrics[name] / retrain[name]
    objective = gap + SHORTFALL_WEIGHT * max(0.0, config["unlearn_least_utility"] - utility)
    if not np.isfinite(objective):
        raise Diverged(
            f"The objective became {objective}: MI-BF {metrics['MI-BF']}, MI-NG {metrics['MI-NG']}, {name} {metrics[name]}."
        )
    return {"objective": objective, "gap": gap, "utility": utility}


def measure(
    simulation: Simulation, point: Mapping[str, Any], report: Callable[[dict], Any] = lambda result: None
) -> dict[str, Any]:
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
        cost = {
            "online_seconds": online.seconds,
            "seconds": perf_counter() - start,
            "peak_memory_mb": online.peak_memory_mb,
        }
        return {"stage": stage.name, **assess(metrics, simulation.retrain, config), **metrics, **cost}

    def after_epoch(epoch):
        try:
            report({"epoch": epoch, **result(*next(costed_stages(method, config["device"])))})
        except Diverged:  # a later epoch may be fine
            pass

    method.after_epoch = after_epoch
    with measured(config["device"]) as offline:
        method.prepare()
    *_, last = costed_stages(method, config["device"])
    last = result(*last)
    return {**last, "peak_memory_mb": max(offline.peak_memory_mb, last["peak_memory_mb"])}


def measure_all(
    simulations: Iterable[Simulation], point: Mapping[str, Any], report: Callable[[dict], Any] = lambda result: None
) -> dict[str, Any]:
    """Call :func:`measure` on several requests.

    Args:
        simulations: the function holds one at a time.
        point: settings to try on them.
        report: takes the results of the epochs on the first request.

    Returns:
        The mean of each number, and the results as ``requests``.
    """
    results = []
    for simulation in simulations:
        results.append(measure(simulation, point, (lambda result: None) if results else report))
        del simulation
    means = {key: float(np.mean([result[key] for result in results])) for key in results[0] if key != "stage"}
    return {**means, "requests": results}
