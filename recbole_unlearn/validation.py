"""Checks the values of settings before anything is loaded or trained."""

from collections.abc import Iterable, Mapping
from typing import Any

from recbole.evaluator import metrics_dict

from recbole_unlearn.data.request import check_request_settings
from recbole_unlearn.data.settings import check_data_settings
from recbole_unlearn.declarations import declarations
from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.recbole_metrics import MembershipMetric
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS, ExactRecommender, NetworkRecommender
from recbole_unlearn.settings import check


def check_value(name: str, value: Any) -> None:
    """Refuse a value of one setting, by the declarations of all registered backbones and methods.

    Args:
        name: of a setting; one that nobody declares passes.
        value: e.g. a bound of a sweep.

    Raises:
        UsageError: names the setting, its value and what it may be.
    """
    own = [registry[name] for registry in (MODELS, METHODS) for name in registry]
    for declaration in declarations(own):
        check(declaration, {name: value})


def check_values(settings: Mapping[str, Any], classes: Iterable[type[Any]] = ()) -> None:
    """Refuse values that would fail late or mean nothing.

    Args:
        settings: final settings; missing keys pass.
        classes: the run's backbone and methods; their declarations win over others of the same name.

    Raises:
        UsageError: names the setting, its value and what it may be.
    """
    classes = list(classes)
    theirs = [cls.settings for cls in classes]
    others = settings.keys() - {name for declaration in theirs for name in declaration.model_fields}
    for declaration in declarations():
        check(declaration, {name: settings[name] for name in others})
    for declaration in theirs:
        missing = declaration.model_fields.keys() - settings.keys()
        if missing:
            raise UsageError(f"Setting '{min(missing)}' is missing: it has no default, so give it a value.")
        check(declaration, settings)
    check_data_settings(settings)
    check_request_settings(settings)
    if (settings.get("world_size") or 1) not in (1, -1):
        raise UsageError(
            f"Setting 'world_size' must be 1, not {settings['world_size']!r}: use --nproc for processes of this "
            "machine, and torchrun for those of several."
        )
    alone = [cls.__name__ for cls in classes if issubclass(cls, ExactRecommender)]
    if settings["nproc"] > 1 and alone:
        raise UsageError(f"Setting 'nproc' is for trainings, and {alone[0]} is fitted by one process: leave it out.")
    networks = [cls.__name__ for cls in classes if issubclass(cls, NetworkRecommender)]
    if settings["nproc"] > 1 and networks:
        raise UsageError(f"Setting 'nproc' splits the columns of a table, and {networks[0]} has none: leave it out.")
    if settings["nproc"] > 1 and (settings["unlearn_workers"] or 1) > 1:
        raise UsageError("Settings 'nproc' and 'unlearn_workers' cannot both be above 1: leave one out.")
    topk = settings["topk"] if isinstance(settings["topk"], list) else [settings["topk"]]
    metrics = settings["metrics"] if isinstance(settings["metrics"], (list, tuple)) else [settings["metrics"]]
    name, _, k = str(settings["valid_metric"]).partition("@")
    computed = {str(metric).lower() for metric in metrics}
    computed = {metric for metric in computed if not issubclass(metrics_dict.get(metric, object), MembershipMetric)}
    has_no_k = name.lower() == "gauc" and not k
    if name.lower() not in computed or not (has_no_k or k in map(str, topk)):
        raise UsageError(
            f"Setting 'valid_metric' must be METRIC@K of a ranking metric in {metrics} and a K in {topk}, "
            f"not {settings['valid_metric']!r}."
        )
