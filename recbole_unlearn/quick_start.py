"""The pipeline, top to bottom: data and request, original model, methods, report; and the sweep around it."""

import math
from logging import getLogger

from recbole.utils import init_logger, set_color

from recbole_unlearn.config import Config
from recbole_unlearn.data.split import restore_data
from recbole_unlearn.errors import Diverged, UsageError
from recbole_unlearn.evaluator.comparison import summarise
from recbole_unlearn.evaluator.cost import Cost, costed_stages, measured
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.files.recbole_checkpoint import is_recboles
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.report.files import beside, model_file, report_path, save_json
from recbole_unlearn.report.report import Report
from recbole_unlearn.report.tables import label, summary_table
from recbole_unlearn.sweep.report import SweepReport
from recbole_unlearn.sweep.simulation import (
    PARTS,
    Simulation,
    measure,
    simulated_data,
    simulated_kinds,
    simulation_settings,
    train_part,
)
from recbole_unlearn.sweep.space import check_search, check_space, read_space, swept_method, with_whole_numbers
from recbole_unlearn.sweep.trials import AS_GIVEN, Goal, Trials, sweep_folder
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone


def run_unlearn(model=None, dataset=None, config_file_list=None, config_dict=None, saved=True):
    """Train a backbone, forget a request with each of ``unlearn_methods``, and report how well each did.

    Args:
        model (str): backbone, e.g. ``SimGCL``.
        dataset (str): dataset, e.g. ``ml-100k``.
        config_file_list (list of str): yaml files.
        config_dict (dict): settings that win over the files.
        saved (bool): whether the unlearned models, the report and its figure are written.

    Returns:
        dict: the report; see :meth:`recbole_unlearn.report.report.Report.result`.

    Raises:
        UsageError: wrong settings, request or data, in one line.
    """
    config = Config(model, dataset, config_file_list, config_dict)
    init_logger(config)
    logger = getLogger()
    logger.info(config)
    if config.unread():
        unread = ", ".join(config.unread())
        logger.warning(f"Not used, because {config['model']} and the methods have no such settings: {unread}")

    data = prepare_data(config)
    logger.info(data.train)
    logger.info(set_color("Request", "pink") + f": {config['forget_type']} {data.request.summary()}")

    with measured(config["device"]) as training:
        trained = train_backbone(config, data.train, "original", data.valid_data)
    original = trained.model
    if saved:
        save_model(model_file(config, "original"), original, config, data.train)
    evaluator = UnlearningEvaluator(config, data, original)
    report = Report(config, data, saved)
    if not report.has("original"):
        report.add("original", "", *evaluator.evaluate(original), trained.seconds, Cost(0.0, training.peak_memory_mb))

    for name in config["unlearn_methods"]:
        if report.has(name):
            continue
        logger.info(set_color(f"Unlearning with {name}", "pink"))
        method = METHODS[name](config, data, original)
        try:
            with measured(config["device"]) as offline:
                seconds_before = method.prepare()
            for stage, online in costed_stages(method, config["device"]):
                if saved and isinstance(stage.model, UnlearnableRecommender):
                    save_model(model_file(config, name, stage.name), stage.model, config, data.train)
                metrics, scores = evaluator.evaluate(stage.model)
                offline_seconds = offline.seconds + seconds_before
                row = report.add(name, stage.name, metrics, scores, offline_seconds, online, stage.details)
                logger.info(set_color(label(row), "yellow") + f": {row}")
        except Diverged as error:
            report.add(name, "", details={"no result": error})
            logger.warning(f"{name}: no result: {error}")
        report.save()

    report.show()
    report.draw()
    return report.result()


def run_seeds(seeds, model=None, dataset=None, config_file_list=None, config_dict=None, saved=True):
    """:func:`run_unlearn` for each of several seeds, and the mean and standard deviation of their rows.

    Args:
        seeds (list of int): each another split, request and initialisation.
        model, dataset, config_file_list, config_dict, saved: as for :func:`run_unlearn`; a ``report_file`` gets the
            seed before its ending.

    Returns:
        dict: see :func:`recbole_unlearn.evaluator.comparison.summarise`.

    Raises:
        UsageError: as for :func:`run_unlearn`.
    """
    config = Config(model, dataset, config_file_list, config_dict)
    results = []
    for seed in seeds:
        seeded = {**(config_dict or {}), "seed": seed}
        if config["report_file"]:
            seeded["report_file"] = beside(config["report_file"], f"-{seed}.json")
        results.append(run_unlearn(model, dataset, config_file_list, seeded, saved))
    summary = summarise(results)
    getLogger().info(f"Mean and standard deviation of seeds {', '.join(map(str, seeds))}:\n{summary_table(summary)}")
    if saved:
        save_json(report_path(config, seeds), summary)
    return summary


def run_sweep(
    model=None,
    dataset=None,
    config_file_list=None,
    config_dict=None,
    params_file="hyper.test",
    num_samples=20,
    search="random",
    scheduler="asha",
    tune_metric="objective",
    tune_mode=None,
    simulated=None,
    held_back=1,
    resume=False,
    storage_path=None,
    ray_address=None,
    resources_per_trial=None,
):
    """Search a method's settings with Ray Tune, on simulated requests and validation data.

    Neither the actual request nor test data take part. The original model and Retrain are trained once and shared.

    Args:
        model, dataset, config_file_list, config_dict: as for :func:`run_unlearn`; what ``config_dict`` names is fixed.
            The method is ``unlearn_methods`` if that names one, else UnlearnRec.
        params_file (str): the space; see :func:`recbole_unlearn.sweep.space.read_space`.
        num_samples (int): trials, but for a grid.
        search (str): ``random``, ``grid`` or ``optuna``.
        scheduler (str): ``asha`` stops trials early that are worse than others after as many epochs; ``none`` does not.
        tune_metric, tune_mode (str): what is searched for; see :func:`recbole_unlearn.sweep.simulation.assess`.
        simulated (list of str): kinds of the simulated requests that a trial is measured on; default that of the actual one.
        held_back (int): how often as many other ones are simulated, to compare the best settings with those given.
        resume (bool): go on with the same sweep that was interrupted, or with more samples.
        storage_path (str): where sweeps are written; default ``sweep`` under ``checkpoint_dir``.
        ray_address (str): of a running cluster; default this machine.
        resources_per_trial (dict): default ``{"cpu": 1}``, and a GPU where there is one.

    Returns:
        dict: what ``sweep.json`` holds; see :meth:`recbole_unlearn.sweep.report.SweepReport.result`.

    Raises:
        UsageError: wrong settings, data or space, a sweep that is there already, or no trial succeeded.
    """
    from recbole_unlearn.sweep import tune  # ray takes seconds to import

    config = Config(model, dataset, config_file_list, config_dict)
    method, goal = swept_method(config), Goal.of(config, tune_metric, tune_mode)
    check_search(search, scheduler)
    space = {key: values for key, values in read_space(params_file, method).items() if key not in (config_dict or {})}
    kinds = simulated_kinds(config, simulated)
    check_space(space, params_file, simulation_settings(config, method, {}), search)
    init_logger(config)
    logger = getLogger()

    with tune.Cluster(ray_address, resources_per_trial or tune.default_resources(config["device"])) as cluster:
        settings, data = simulated_data(config, method, kinds, round_=1)
        folder = sweep_folder(config, storage_path, settings, data, space)
        trials = Trials(folder, stopper=f"{scheduler} by {goal.metric}")
        trials.begin(resume)
        simulations = cluster.simulate(settings, data)
        logger.info(set_color(f"Searching {params_file}", "pink"))
        cluster.search(simulations, trials, space, search, num_samples, scheduler, goal)
        (given,) = cluster.measure(simulations, [AS_GIVEN])
        report = SweepReport(config, method, kinds, goal, trials.all(), [each.retrain for each in simulations], given)
        report.save(folder)

        for number in range(1, 1 + held_back):
            logger.info(set_color(f"Held-back requests {number} of {held_back}", "pink"))
            simulations = cluster.simulate(*simulated_data(config, method, kinds, round_=1 + number))
            report.add_check(*cluster.measure(simulations, [report.best["point"], AS_GIVEN]))
            report.save(folder)

    report.show(folder)
    return report.result()


def objective_function(config_dict=None, config_file_list=None, saved=True):
    """The objective of a sweep for RecBole's own ``HyperTuning``: settings of a method on a simulated request.

    Args:
        config_dict (dict): the settings to try.
        config_file_list (list of str): yaml files, with ``model`` and ``dataset``.
        saved (bool): there for RecBole; the trainings are always kept, which is how trials share them.

    Returns:
        dict: RecBole's ``model``, ``best_valid_score`` (the objective; less is better), ``valid_score_bigger``,
        ``best_valid_result`` and ``test_result``, which is empty: nothing is chosen by test data.
    """
    config = Config(config_file_list=config_file_list, config_dict=with_whole_numbers(config_dict or {}))
    ((settings,), (data,)) = simulated_data(config, swept_method(config), simulated_kinds(config), round_=1)
    states = (train_part(Config(stored=settings), data, part) for part in PARTS)
    simulation = Simulation.of(settings, data, *states)
    try:
        result = measure(simulation, {})
    except Diverged as error:
        result = {"objective": math.inf, "error": str(error)}
    return {
        "model": config["model"],
        "best_valid_score": result["objective"],
        "valid_score_bigger": False,
        "best_valid_result": result,
        "test_result": {},
    }


def load_data_and_model(model_file, config_dict=None):
    """Load a model that :func:`run_unlearn` saved, with the data of its configuration.

    Args:
        model_file (str): a file named in the run's output.
        config_dict (dict): settings to change, e.g. ``data_path`` on another machine.

    Returns:
        tuple: ``config, model, dataset, train_data, valid_data, test_data`` as RecBole's function of the same name;
        ``train_data`` holds the remaining interactions only.

    Raises:
        UsageError: another kind of file, or data that the model was not trained on.
    """
    try:
        config, model, tokens = load_model(model_file, config_dict)
    except UsageError:
        if is_recboles(model_file):
            raise UsageError(
                f"'{model_file}' is a checkpoint of RecBole's Trainer: recbole.quick_start.load_data_and_model loads it, "
                "and run_unlearn.py --checkpoint forgets in it."
            ) from None
        raise
    return (config, model, *restore_data(config, model.graph.to("cpu"), tokens))
