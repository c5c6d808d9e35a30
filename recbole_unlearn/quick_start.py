"""The pipeline, top to bottom: data and request, original model, methods, report."""

from logging import getLogger

from recbole.utils import init_logger, set_color

from recbole_unlearn.comparison import summarise
from recbole_unlearn.config import Config
from recbole_unlearn.cost import Cost, costed_stages, measured
from recbole_unlearn.data.split import prepare_data, restore_data
from recbole_unlearn.errors import Diverged
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.report import Report, beside, label, model_file, report_path, save_json, summary_table
from recbole_unlearn.saved_model import load_model, save_model
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
        dict: the report; see :meth:`recbole_unlearn.report.Report.result`.

    Raises:
        UsageError: wrong settings, request or data, in one line.
    """
    config = Config(model, dataset, config_file_list, config_dict)
    init_logger(config)
    logger = getLogger()
    logger.info(config)

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
        dict: see :func:`recbole_unlearn.comparison.summarise`.

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


def load_data_and_model(model_file, config_dict=None):
    """Load a model that :func:`run_unlearn` saved, with the data of its configuration.

    Args:
        model_file (str): a file named in the run's output.
        config_dict (dict): settings to change, e.g. ``data_path`` on another machine.

    Returns:
        tuple: ``config, model, dataset, train_data, valid_data, test_data`` as RecBole's function of the same name;
        ``train_data`` holds the remaining interactions only.
    """
    config, model, tokens = load_model(model_file, config_dict)
    return (config, model, *restore_data(config, model.graph.to("cpu"), tokens))
