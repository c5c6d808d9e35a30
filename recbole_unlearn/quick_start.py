"""The pipeline, top to bottom: data and request, original model, methods, report."""

from logging import getLogger

from recbole.utils import init_logger, set_color

from recbole_unlearn import report
from recbole_unlearn.config import Config
from recbole_unlearn.cost import costed_stages, measured
from recbole_unlearn.data.split import prepare_data, restore_data
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import UnlearnableRecommender
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
        dict: the report; see :func:`recbole_unlearn.report.compose`.

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

    with measured(config["device"]) as offline:
        trained = train_backbone(config, data.train, "original", data.valid_data)
    original = trained.model
    evaluator = UnlearningEvaluator(config, data, original)
    metrics, scores = evaluator.evaluate(original)
    rows = [report.row("original", "", metrics, trained.seconds, 0.0, offline.peak_memory_mb)]
    score_sets = {"original": scores}

    for name in config["unlearn_methods"]:
        logger.info(set_color(f"Unlearning with {name}", "pink"))
        method = METHODS[name](config, data, original)
        with measured(config["device"]) as offline:
            offline_seconds_before = method.prepare()
        for stage, online in costed_stages(method, config["device"]):
            metrics, scores = evaluator.evaluate(stage.model)
            offline_seconds = offline.seconds + offline_seconds_before
            rows.append(report.row(name, stage.name, metrics, offline_seconds, online.seconds, online.peak_memory_mb))
            label = f"{name} {stage.name}".strip()
            score_sets[label] = scores
            logger.info(set_color(label, "yellow") + f": {rows[-1]}")
            if saved and isinstance(stage.model, UnlearnableRecommender):
                save_model(report.model_file(config, label), stage.model, config, data.train)

    result = report.compose(config, data, rows)
    report.show(result)
    if saved:
        report.save(config, result, score_sets)
    return result


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
