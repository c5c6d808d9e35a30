"""What a sweep measures settings on: simulated requests and validation data, never the actual request or test data."""

import os
from dataclasses import dataclass
from time import perf_counter

import torch

from recbole_unlearn.comparison import membership_gaps
from recbole_unlearn.cost import costed_stages
from recbole_unlearn.data.split import UnlearningData
from recbole_unlearn.errors import Diverged, UsageError
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.trainer import train_backbone

SEED_SHIFT = 1_000_000  # from the actual request's seed to that of a simulated one
SHORTFALL_WEIGHT = 100.0  # of a ranking below the limit: one percent weighs like a factor e in all forgetting metrics
PARTS = ("original", "retrain")


def simulated_request(config, number):
    """The settings that put a simulated request of the same kind in the place of the actual one, and validation for test data.

    Others of ``forget_ratio`` stand in for named users or items, and random interactions for those of a file.

    Args:
        config (Config): of the actual run.
        number (int): from 1; others are other requests.

    Returns:
        dict: to be put over the settings of the run.
    """
    seed = config["seed"] if config["forget_seed"] is None else config["forget_seed"]
    return {
        "forget_type": "random" if config["forget_type"] == "file" else config["forget_type"],
        "forget_seed": seed + number * SEED_SHIFT,
        "forget_users": None,
        "forget_items": None,
        "forget_file": None,
        "unlearn_measure_on": "valid",
    }


def simulation_settings(config, method, number):
    """The settings of a run of a method with a simulated request, fit for another process and working directory.

    Returns:
        dict: plain data with absolute paths, enough for ``Config(config_dict=...)``.
    """
    return {
        **config.external_config_dict,
        **simulated_request(config, number),
        "model": config["model"],
        "dataset": config["dataset"],
        "unlearn_methods": [method],
        "data_path": os.path.dirname(os.path.abspath(config["data_path"])),  # Config has added the dataset's name
        "checkpoint_dir": os.path.abspath(config["checkpoint_dir"]),
        "show_progress": False,
    }


def train_part(config, data, part):
    """Train the original model, or Retrain's, of a simulated request, unless that was done before.

    Args:
        config (Config): of :func:`simulation_settings`.
        data (UnlearningData): its data.
        part (str): of ``PARTS``.

    Returns:
        dict: the state of the model, tensors on the CPU.
    """
    dataset = data.train if part == "original" else data.remaining
    model = train_backbone(config, dataset, part, data.valid_data).model
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class Simulation:
    """What all trials on a simulated request share.

    Args:
        data (UnlearningData): with half of the validation pairs in the place of test data.
        original (dict): state of the original model.
        retrain (dict): Retrain's metrics.
    """

    data: UnlearningData
    original: dict
    retrain: dict

    @classmethod
    def of(cls, config, data, original, retrain):
        """From the states of both models.

        Raises:
            UsageError: Retrain is of no use on validation data, so nothing can be compared with it.
        """
        models = [model_of(config, dataset, state) for dataset, state in ((data.train, original), (data.remaining, retrain))]
        metrics, _ = UnlearningEvaluator(config, data, models[0]).evaluate(models[1])
        if not metrics[config["valid_metric"].lower()] > 0:
            raise UsageError(f"Retrain's {config['valid_metric']} on validation data is 0; train for more `epochs`.")
        return cls(data, original, metrics)


def model_of(config, dataset, state):
    """A trained backbone from its state."""
    model = MODELS[config["model"]](config, dataset).to(config["device"])
    model.load_state_dict(state)
    return model.eval()


def assess(metrics, retrain, config):
    r"""How good metrics are, next to Retrain's.

    .. math::
        \mathrm{gap} &= \tfrac14 \Big( \big|\ln \tfrac{\text{MI-BF}}{\text{MI-BF}_R}\big|
            + \big|\ln \tfrac{\text{MI-NG}}{\text{MI-NG}_R}\big| + |\mathrm{AUC_{FN}} - \mathrm{AUC}_{\mathrm{FN},R}|
            + |\mathrm{AUC_{FT}} - \mathrm{AUC}_{\mathrm{FT},R}| \Big), \qquad \mathrm{utility} = \frac{m}{m_R} \\
        \mathrm{objective} &= \mathrm{gap} + 100 \max(0, u - \mathrm{utility})

    with :math:`m` the ``valid_metric`` and :math:`u` the setting ``unlearn_least_utility``. An objective of 0 is to forget
    like Retrain; less is better.

    Args:
        metrics, retrain (dict): of the evaluator.
        config (Config): settings.

    Returns:
        dict: ``objective``, ``gap`` and ``utility``.

    Raises:
        Diverged: one of them is not finite.
    """
    gap = sum(membership_gaps(metrics, retrain).values()) / 4
    name = config["valid_metric"].lower()
    utility = metrics[name] / retrain[name]
    objective = gap + SHORTFALL_WEIGHT * max(0.0, config["unlearn_least_utility"] - utility)
    if not torch.isfinite(torch.tensor(objective)):
        raise Diverged(f"The objective became {objective}: MI-BF {metrics['MI-BF']}, MI-NG {metrics['MI-NG']}, {name} {metrics[name]}.")
    return {"objective": objective, "gap": gap, "utility": utility}


def measure(config, simulation, report=lambda result: None):
    """Prepare the method of ``unlearn_methods`` and forget the simulated request; the last stage counts.

    Args:
        config (Config): of :func:`simulation_settings`, with the settings to try.
        simulation (Simulation): of the same request.
        report (callable): takes a result after each epoch of the preparation, for which the first stage counts.

    Returns:
        dict: the last result: ``epoch``, ``stage``, ``final``, :func:`assess`, the metrics, ``online_seconds`` and ``seconds`` in all.

    Raises:
        Diverged: there is no usable result.
    """
    start, epoch = perf_counter(), 0
    original = model_of(config, simulation.data.train, simulation.original)
    evaluator = UnlearningEvaluator(config, simulation.data, original)
    (name,) = config["unlearn_methods"]
    method = METHODS[name](config, simulation.data, original)

    def result(stage, final, online_seconds):
        metrics, _ = evaluator.evaluate(stage.model)
        return {
            "epoch": epoch,
            "stage": stage.name,
            "final": final,
            **assess(metrics, simulation.retrain, config),
            **metrics,
            "online_seconds": online_seconds,
            "seconds": perf_counter() - start,
        }

    def after_epoch(number):
        nonlocal epoch
        epoch = number
        stage, online = next(costed_stages(method, config["device"]))
        report(result(stage, False, online.seconds))

    method.after_epoch = after_epoch
    method.prepare()
    epoch += 1
    *_, (stage, online) = costed_stages(method, config["device"])
    return result(stage, True, online.seconds)
