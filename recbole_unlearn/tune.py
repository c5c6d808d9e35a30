"""The hyper-parameter sweep: Ray Tune tries settings of UnlearnRec on a simulated request."""

import itertools
import math
import os
import shlex
from dataclasses import replace
from logging import getLogger
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from recbole.utils import get_local_time, init_logger, set_color

from recbole_unlearn.config import Config
from recbole_unlearn.data.split import prepare_data
from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.method import METHODS
from recbole_unlearn.space import points_of, read_space
from recbole_unlearn.trainer import train_backbone

METHOD = "UnlearnRec"  # whose settings a sweep tries
SEED_SHIFT = 1_000_000  # from the actual request's seed to the simulated one's


def run_sweep(model=None, dataset=None, config_file_list=None, config_dict=None, hyper_file="hyper.test", n_trials=20):
    """Try UnlearnRec's settings on a simulated request; neither the actual request nor test data take part.

    Args:
        model, dataset, config_file_list, config_dict: as for :func:`recbole_unlearn.quick_start.run_unlearn`.
        hyper_file (str): the space; see :func:`recbole_unlearn.space.read_space`.
        n_trials (int): points to draw if the space has a range; choices alone are all tried.

    Returns:
        dict: ``trials`` (best first; a dict a trial of its settings, ``score``, metrics, ``seconds`` and ``error``),
        ``retrain`` (the metrics to compare with), ``best`` (settings) and ``command`` (the line that uses them).

    Raises:
        UsageError: wrong settings, data or space, or no trial succeeded.
    """
    config = Config(model, dataset, config_file_list, config_dict)
    points = points_of(read_space(hyper_file, METHOD), n_trials, config["seed"])
    settings = simulation(config)
    for point in points:  # what a point must not be is said before anything trains
        Config(config_dict={**settings, **point})
    init_logger(config)
    getLogger().info(set_color("Sweep", "pink") + f": {len(points)} trials of {hyper_file} on a simulated request")
    retrain = prepare(Config(config_dict=settings).replace(show_progress=config["show_progress"]))[-1]
    trials = _run_trials(settings, points, on_gpu=config["device"].type == "cuda")
    if "error" in trials[0]:
        raise UsageError(f"None of {len(trials)} trials succeeded; one ended with: {trials[0]['error']}")

    best = {key: trials[0][key] for key in points[0]}
    command = ["python", "run_unlearn.py", f"--model={config['model']}", f"--dataset={config['dataset']}"]
    command += [f"--config_files={' '.join(config_file_list)}"] if config_file_list else []
    command = shlex.join(command + [f"--{key}={value}" for key, value in {**(config_dict or {}), **best}.items()])
    getLogger().info(f"Trials on a simulated request and validation data, best first\n{table(trials, retrain)}")
    getLogger().info(set_color("Best", "yellow") + f": {command}")
    return {"trials": trials, "retrain": retrain, "best": best, "command": command}


def simulation(config):
    """The settings of a run of its own with another request of the same kind: plain data, absolute paths.

    An adversarial request is injected before the original model trains, so the simulated one has its own original.
    Others of ``forget_ratio`` stand in for named users or items, and random edges for those of a file.

    Args:
        config (Config): of the actual run.

    Returns:
        dict: enough for ``Config(config_dict=...)`` in another process and working directory.
    """
    seed = config["seed"] if config["forget_seed"] is None else config["forget_seed"]
    return {
        **config.external_config_dict,
        "model": config["model"],
        "dataset": config["dataset"],
        "unlearn_methods": [METHOD],
        "forget_type": "random" if config["forget_type"] == "file" else config["forget_type"],
        "forget_seed": seed + SEED_SHIFT,
        "forget_users": None,
        "forget_items": None,
        "forget_file": None,
        "data_path": os.path.dirname(os.path.abspath(config["data_path"])),  # Config has added the dataset's name
        "checkpoint_dir": os.path.abspath(config["checkpoint_dir"]),
        "show_progress": False,
    }


def prepare(config):
    """What all trials share; the models are trained by whoever asks first and loaded by the others.

    Returns:
        tuple: data whose test part is the validation part, the original model, their evaluator, Retrain's metrics.

    Raises:
        UsageError: Retrain is of no use on validation data, so nothing can be compared with it.
    """
    data = prepare_data(config)
    data = replace(data, test=data.valid, test_data=data.valid_data)
    original = train_backbone(config, data.train, "original", data.valid_data).model
    evaluator = UnlearningEvaluator(config, data, original)
    retrain, _ = evaluator.evaluate(train_backbone(config, data.remaining, "retrain", data.valid_data).model)
    if not retrain[config["valid_metric"].lower()] > 0:
        raise UsageError(f"Retrain's {config['valid_metric']} on validation data is 0; train for more `epochs`.")
    return data, original, evaluator, retrain


def objective(settings):
    """How well UnlearnRec's last stage does on the simulated request.

    Args:
        settings (dict): of :func:`simulation`, with those to try.

    Returns:
        dict: ``score`` and validation metrics. The score is the ratio of ``valid_metric`` to Retrain's, less the mean
        of ``|ln(m / Retrain's m)|`` over MI-BF and MI-NG: 1 is as useful and as forgetful as Retrain.
    """
    config = Config(config_dict=settings)
    data, original, evaluator, retrain = prepare(config)
    method = METHODS[METHOD](config, data, original)
    method.prepare()
    *_, stage = method.unlearn()
    metrics, _ = evaluator.evaluate(stage.model)
    utility = config["valid_metric"].lower()
    gap = np.mean([abs(np.log(metrics[name] / retrain[name])) for name in ("MI-BF", "MI-NG")])
    return {"score": float(metrics[utility] / retrain[utility] - gap), **metrics}


def _run_trials(settings, points, on_gpu):
    """A row a point, best first and failed ones last. A trial has a GPU, or else one of torch's threads, to itself."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output is not silenced by verbose=0
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # one of ray's three records is enough
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # let Ctrl-C through to the caller
    import ray
    from ray import tune
    from ray.tune.logger import JsonLoggerCallback

    class Progress(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            outcome = trial.last_result["outcome"]
            result = outcome.get("error") or f"score {outcome['score']:.4f}"
            getLogger().info(f"Trial {next(count)}/{len(points)} {trial.config['point']}: {result}")

    count = itertools.count(1)
    trial = tune.with_resources(tune.with_parameters(_trial, settings=settings), {"gpu": 1} if on_gpu else {"cpu": 1})
    running = tune.RunConfig(
        name=f"{settings['model']}-{settings['dataset']}-{get_local_time()}",
        storage_path=os.path.join(settings["checkpoint_dir"], "sweep"),
        callbacks=[Progress(), JsonLoggerCallback()],
        verbose=0,
    )
    space, reuse = {"point": tune.grid_search(points)}, tune.TuneConfig(reuse_actors=True)
    threads = torch.get_num_threads()
    with ray.init("local", num_cpus=threads, include_dashboard=False, log_to_driver=False, logging_level="ERROR"):
        results = tune.Tuner(trial, param_space=space, tune_config=reuse, run_config=running).fit()
        rows = [{**result.config["point"], **_outcome(result)} for result in results]
    return sorted(rows, key=lambda row: row.get("score", -math.inf), reverse=True)


def _trial(parameters, settings):
    """In a worker: its GPUs are those that ray has given it."""
    import ray

    gpus, start = ",".join(str(gpu) for gpu in ray.get_gpu_ids()), perf_counter()
    try:
        outcome = objective({**settings, **parameters["point"], "gpu_id": gpus})
    except UsageError as error:
        outcome = {"error": str(error)}
    ray.tune.report({"outcome": {**outcome, "seconds": perf_counter() - start}})


def _outcome(result):
    """What a trial reported, or the last line of the traceback that it ended with."""
    return {"error": str(result.error).strip().splitlines()[-1]} if result.error else result.metrics["outcome"]


def table(trials, retrain):
    """The trials as text, a line each, best first, and Retrain's metrics in the last."""
    rows = [{"trial": place, **trial} for place, trial in enumerate(trials, start=1)]
    rows.append({"trial": "Retrain", "score": 1.0, **retrain})
    forms = {"seconds": "{:.1f}", **dict.fromkeys(("score", *retrain), "{:.4f}")}
    cells = [{key: forms.get(key, "{}").format(value) for key, value in row.items()} for row in rows]
    return pd.DataFrame(cells).fillna("").to_string(index=False)
