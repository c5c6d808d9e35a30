"""The pipeline, top to bottom: data and request, original model, methods, report; and the sweep around it."""

import math
from collections.abc import Mapping, Sequence
from logging import getLogger
from os import PathLike, fspath
from typing import Any

from recbole.data.dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.utils import init_logger, set_color

from recbole_unlearn.audit.audit import Audit
from recbole_unlearn.check.backbone import check_backbone
from recbole_unlearn.config import Config
from recbole_unlearn.cost import Cost, measured
from recbole_unlearn.data.split import restore_data
from recbole_unlearn.display import Display
from recbole_unlearn.errors import NoResult, UsageError
from recbole_unlearn.evaluator.comparison import summarise
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.evaluator.recbole_metrics import own_metrics, register_metric
from recbole_unlearn.evaluator.stages import costed_stages, measured_elsewhere
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.files.recbole_checkpoint import is_recboles
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS, Recommender
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.parallel import share_threads, side_by_side, threads_kept
from recbole_unlearn.report.drawings import draw_summary
from recbole_unlearn.report.files import beside, check_place, model_file, report_path, save_json
from recbole_unlearn.report.report import Report
from recbole_unlearn.report.result import Result
from recbole_unlearn.report.summary import summary_table
from recbole_unlearn.report.tables import label
from recbole_unlearn.sequence.sequence import RequestSequence, step_of
from recbole_unlearn.sweep.objective import objective_function as objective_function  # where RecBole has its own
from recbole_unlearn.sweep.report import save_sweep, show_sweep, sweep_result
from recbole_unlearn.sweep.simulation import simulated_data, simulated_requests
from recbole_unlearn.sweep.space import check_search, read_space, swept_method
from recbole_unlearn.sweep.trials import AS_GIVEN, Goal, Trials, sweep_folder
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone


@threads_kept()
def run_unlearn(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
) -> Result:
    """Train a backbone, forget a request with each of ``unlearn_methods``, and report how well each one forgets.

    Args:
        model: backbone, e.g. ``SimGCL``.
        dataset: dataset, e.g. ``ml-100k``.
        config_file_list: yaml files.
        config_dict: settings that win over the files.
        saved: whether to write the unlearned models, the report and its figures.

    Returns:
        The report; see :meth:`recbole_unlearn.report.report.Report.finish`.

    Raises:
        UsageError: settings, request or data are wrong, in one line.
    """
    config = share_threads(Config(model, dataset, config_file_list, config_dict))
    check_place(config["report_file"] if saved else None)
    init_logger(config)
    methods, audited = config["unlearn_methods"], ["audit"] if config["unlearn_audit_models"] else []
    before = ["data", "original", *audited]
    after = [step_of(name) for name in methods if config["unlearn_sequence"]]
    with Display([*before, *methods, *after], dict.fromkeys(before, 0.0), config["show_progress"]) as display:
        return _compare(config, saved, display)


def _compare(config, saved, display):
    """A run, top to bottom."""
    logger = getLogger()
    logger.info(config)
    if unread := ", ".join(config.unread()):
        logger.warning(f"Not used, because {config['model']} and the methods have no such settings: {unread}")

    display.begin("data")
    data = prepare_data(config)
    logger.info(data.train)
    check_backbone(config, data.train, data.graph)
    logger.info(set_color("Request", "pink") + f": {config['forget_type']} {data.request.summary()}")
    sequence = RequestSequence(config, data) if config["unlearn_sequence"] else None

    display.begin("original")
    trained = train_backbone(config, data.train, "original", data.valid_data)
    original = trained.model
    if saved:
        save_model(model_file(config, "original"), original, config, data.train)
    audit = None
    if config["unlearn_audit_models"]:
        logger.info(set_color("Training reference models", "pink") + f" ({display.begin('audit')})")
        audit = Audit(config, data)
    evaluator = UnlearningEvaluator(config, data, original, audit)
    report = Report(config, data, saved)
    done = [name for name in config["unlearn_methods"] if report.has(name)]
    done += [step_of(name) for name in config["unlearn_methods"] if report.has_sequence(name)]
    rounds = math.ceil((1 + (config["unlearn_floor_runs"] or 0)) / config["unlearn_workers"])
    display.known |= {"Retrain": rounds * trained.seconds, **dict.fromkeys(done, 0.0)}
    if not report.has("original"):
        measures, before = evaluator.evaluate(original), measured_elsewhere(offline=trained.seconds_before)
        report.add("original", "", *measures, trained.seconds, Cost(0.0, trained.peak_memory_mb), before)

    for name in config["unlearn_methods"]:
        if report.has(name):
            continue
        logger.info(set_color(f"Unlearning with {name}", "pink") + f" ({display.begin(name)})")
        fresh = data.cold()  # so that no method profits from what an earlier one computed
        try:
            method = METHODS[name](config, fresh, original.served(fresh.graph))
            with measured(config["device"]) as offline:
                seconds_before = method.prepare()
            for stage, online in costed_stages(method, config["device"]):
                if saved and isinstance(stage.model, Recommender):
                    save_model(model_file(config, name, stage.name), stage.model, config, data.train)
                metrics, arrays = evaluator.evaluate(stage.model)
                offline_seconds = offline.seconds + seconds_before
                details = stage.details | measured_elsewhere(offline=seconds_before, online=stage.seconds_before)
                row = report.add(name, stage.name, metrics, arrays, offline_seconds, online, details)
                logger.info(set_color(label(row), "yellow") + f": {row}")
        except NoResult as error:
            report.add(name, "", details={"no result": error})
            logger.warning(f"{name}: no result: {error}")
        report.save()

    if sequence:
        sequence.run(original, report, display)
    return report.finish()


def run_seeds(
    seeds: Sequence[int],
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """Call :func:`run_unlearn` for each of several seeds, and report means and intervals of their rows.

    Args:
        seeds: different whole numbers >= 0; each has another split, request and initialisation.
        model, dataset, config_file_list, config_dict, saved: as for :func:`run_unlearn`; a ``report_file`` gets the
            seed before its ending. With ``ray_address``, a seed is a task of the cluster, whose files lie where it ran.

    Returns:
        See :func:`recbole_unlearn.evaluator.comparison.summarise`.

    Raises:
        UsageError: as for :func:`run_unlearn`; or ``config_dict`` has a seed, or ``seeds`` are none or repeat.
    """
    if "seed" in (config_dict or {}):
        raise UsageError("`seeds` takes the place of `seed`: leave `seed` out of config_dict.")
    if not seeds or len(set(seeds)) < len(seeds) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UsageError(f"`seeds` must be different whole numbers >= 0, e.g. [1, 2, 3], not {seeds!r}.")
    config = Config(model, dataset, config_file_list, config_dict)
    metrics = own_metrics(config["metrics"]).values()
    own = MODELS.own([config["model"]]), METHODS.own(config["unlearn_methods"]), [*metrics]
    jobs = []
    for seed in seeds:
        seeded = {**(config_dict or {}), "seed": seed, "ray_address": None}
        if config["report_file"]:
            seeded["report_file"] = beside(config["report_file"], f"-{seed}.json")
        jobs.append((*own, model, dataset, config_file_list, seeded, saved))
    summary = summarise(list(side_by_side(_run_seed, jobs, 1, config)))
    getLogger().info(summary_table(summary))
    if saved:
        path = report_path(config, seeds)
        save_json(path, summary)
        if any("MI-BF_gap" in row for row in summary["results"]):
            write_aside(beside(path, "-gaps.png"), lambda temporary: draw_summary(summary, temporary))
    return summary


def _run_seed(models, methods, metrics, *arguments):
    """:func:`run_unlearn`, perhaps in another process, which does not know a user's own classes."""
    MODELS.register_all(models)
    METHODS.register_all(methods)
    for metric in metrics:
        register_metric(metric)
    return run_unlearn(*arguments)


def run_sweep(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    params_file: str | PathLike = "hyper.test",
    num_samples: int = 20,
    search: str = "random",
    scheduler: str = "asha",
    tune_metric: str = "objective",
    tune_mode: str | None = None,
    simulated: Sequence[str] | None = None,
    held_back: int = 1,
    resume: bool = False,
    storage_path: str | None = None,
    ray_address: str | None = None,
    resources_per_trial: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Search a method's settings with Ray Tune, on simulated requests and validation data.

    A sweep reads neither the actual request nor test data. All trials share one training of the original model and of
    Retrain.

    Args:
        model, dataset, config_file_list, config_dict: as for :func:`run_unlearn`; the search leaves the settings of
            ``config_dict`` fixed. The method is ``unlearn_methods`` if that names one, else UnlearnRec.
        params_file: the space; see :func:`recbole_unlearn.sweep.space.read_space`.
        num_samples: number of trials; a grid ignores it.
        search: ``random``, ``grid`` or ``optuna``.
        scheduler: ``asha`` stops trials early that do worse than others after as many epochs; ``none`` stops none.
        tune_metric, tune_mode: the goal; see :func:`recbole_unlearn.sweep.simulation.assess`.
        simulated: kinds of the simulated requests of a trial; default that of the actual one.
        held_back: rounds of other simulated requests that compare the best settings with those given.
        resume: whether to go on with an interrupted sweep, or to add samples to it.
        storage_path: folder of all sweeps; default ``sweep`` under ``checkpoint_dir``.
        ray_address: of a running cluster; default the setting of that name, or this machine.
        resources_per_trial: default ``{"cpu": 1}``, and a GPU if there is one.

    Returns:
        The content of ``sweep.json``; see :func:`recbole_unlearn.sweep.report.sweep_result`.

    Raises:
        UsageError: settings, data or space are wrong, the sweep exists already, or no trial succeeds.
    """
    from recbole_unlearn.cluster import Cluster, default_resources  # ray takes seconds to import
    from recbole_unlearn.sweep import tune

    config = Config(model, dataset, config_file_list, config_dict)
    address = ray_address or config["ray_address"]
    config = config.replace(ray_address=None, nproc=1)  # a trial is a task of one process
    method, goal = swept_method(config), Goal.of(config, tune_metric, tune_mode)
    requests = simulated_requests(config, simulated)
    space = read_space(params_file, method, fixed=config_dict or {})
    check_search(search, scheduler, space)
    init_logger(config)
    logger = getLogger()

    with Cluster(address, resources_per_trial or default_resources(config["device"])) as cluster:
        settings, data = simulated_data(config, method, requests)
        folder = sweep_folder(config, storage_path, settings, data, space)
        trials = Trials(folder, stopper=f"{scheduler} by {goal.metric}")
        trials.begin(resume)
        simulations = tune.simulate(cluster, settings, data)
        logger.info(set_color(f"Searching {params_file}", "pink"))
        tune.search(cluster, simulations, trials, space, search, num_samples, scheduler, goal)
        (given,) = tune.measure(cluster, simulations, [AS_GIVEN])
        retrain = [simulation.retrain for simulation in simulations]
        result = sweep_result(config, method, requests, goal, trials.all(), retrain, given)
        save_sweep(result, config, folder)

        points = {"best": result["trials"][0]["point"], "as given": AS_GIVEN}
        for number in range(1, 1 + held_back):
            logger.info(set_color(f"Held-back requests {number} of {held_back}", "pink"))
            others = simulated_requests(config, simulated, 1 + number)
            simulations = tune.simulate(cluster, *simulated_data(config, method, others))
            result["held back"].append(dict(zip(points, tune.measure(cluster, simulations, list(points.values())))))
            save_sweep(result, config, folder)

    show_sweep(result, folder)
    return result


def load_data_and_model(
    model_file: str | PathLike, config_dict: Mapping[str, Any] | None = None
) -> tuple[Config, Recommender, Dataset, AbstractDataLoader, AbstractDataLoader, AbstractDataLoader]:
    """Load a model that :func:`run_unlearn` saved, with the data of its configuration.

    Args:
        model_file: a file named in the run's output.
        config_dict: settings to change, e.g. ``data_path`` on another machine.

    Returns:
        ``config, model, dataset, train_data, valid_data, test_data`` as RecBole's function of the same name;
        ``train_data`` holds the remaining interactions only.

    Raises:
        UsageError: the file is of another kind, or the model was not trained on these data.
    """
    path = fspath(model_file)
    try:
        config, model, tokens = load_model(path, config_dict)
    except UsageError:
        if is_recboles(path):
            raise UsageError(
                f"'{model_file}' is a checkpoint of RecBole's Trainer: recbole.quick_start.load_data_and_model loads "
                "it, and run_unlearn.py --checkpoint forgets in it."
            ) from None
        raise
    return (config, model, *restore_data(config, model.graph.to("cpu"), tokens))
