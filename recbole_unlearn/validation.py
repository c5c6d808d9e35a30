"""Checks the values of settings before anything is loaded or trained."""

from collections.abc import Mapping
from typing import Any

from recbole_unlearn.data.settings import check_data_settings
from recbole_unlearn.errors import UsageError, unknown

CHOICES = {
    "forget_type": ("adversarial", "random", "user", "item", "file"),
    "ie_target": ("unseen", "negative"),
    "unlearn_measure_on": ("test", "valid"),
    "unlearn_grapheraser_partition": ("BEKM", "BLPA"),
    "unlearn_grapheraser_partition_on": ("nodes", "users"),
    "unlearn_receraser_partition": ("interaction", "user", "item"),
}


MOST_DAYS, SECONDS_OF_A_DAY = 36_500, 86_400  # a hundred years: dates end with the year 9999


def _number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _share(value):
    return _number(value) and 0 < value <= 1


def _weight(value):
    return _number(value) and 0 <= value < float("inf")


def _days(value):
    return _number(value) and 0 <= value <= MOST_DAYS


def _grace(value):
    return _number(value) and 0 <= value <= MOST_DAYS * SECONDS_OF_A_DAY


def _positive(value):
    return _number(value) and 0 < value < float("inf")


def _temperature(value):
    return _number(value) and 0.03 <= value < float("inf")


def _count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _count_or_zero(value):
    return _count(value) or (value == 0 and _number(value))


def _seed(value):
    return value is None or _count_or_zero(value)


def _switch(value):
    return isinstance(value, bool)


def _count_or_empty(value):
    return value is None or _count(value)


def _scale(value):
    return value == "auto" or _positive(value)


def _range_of_shares(value):
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(map(_number, value))
        and 0 < value[0] <= value[1] < 1
    )


def _fraction(value):
    return _number(value) and 0 <= value < 1


def _flag(value):
    """RecBole reads any other text as yes, even `no` and `off`."""
    return value is None or value in (True, False)


def _learner(value):
    return isinstance(value, str) and value.lower() in LEARNERS


def _state(value):
    return value is None or (isinstance(value, str) and value.lower() in STATES)


def _clip(value):
    return value is None or (isinstance(value, dict) and _number(value.get("max_norm")))


LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")  # RecBole reads any other name as Adam
STATES = ("debug", "info", "warning", "error", "critical")  # and any other name as INFO


RULES = {  # a check and its description: the settings that must pass it
    (_share, "a share in (0, 1]"): ["forget_ratio", "unlearn_least_utility", "unlearn_retrain_share"],
    (_fraction, "a share in [0, 1)"): [
        "forget_attack_pool",
        "drop_ratio",
        "ie_contrast_drop",
        "unlearn_grapheraser_slack",
        "unlearn_ifru_degree_change",
        "unlearn_ifru_quantile",
    ],
    (_range_of_shares, "[LEAST, LARGEST] with 0 < LEAST <= LARGEST < 1"): ["ie_request_ratio"],
    (_weight, "a number >= 0"): [
        "ie_model_weight",
        "ie_unlearning_weight",
        "ie_preserving_weight",
        "ie_contrast_weight",
        "ie_score_weight",
        "ie_rho",
        "reg_weight",
        "simgcl_eps",
        "simgcl_lambda",
        "ssl_weight",
        "unlearn_ceu_damping",
        "unlearn_ceu_lambda",
        "unlearn_ceu_sigma",
        "unlearn_gif_damping",
        "unlearn_grapheraser_penalty",
        "unlearn_ifru_damping",
        "weight_decay",
    ],
    (_days, f"a number of days from 0 to {MOST_DAYS}"): ["unlearn_quarantine_days"],
    (_grace, f"a number of seconds from 0 to {MOST_DAYS * SECONDS_OF_A_DAY}"): ["unlearn_grace_seconds"],
    (_positive, "a number > 0"): [
        "ie_change_weight",
        "ie_learning_rate",
        "ie_preserving_temperature",
        "learning_rate",
        "unlearn_ceu_tolerance",
        "unlearn_finetune_learning_rate",
        "unlearn_ifru_tolerance",
        "unlearn_receraser_learning_rate",
    ],
    (_temperature, "a number >= 0.03, below which its exponentials vanish"): [
        "ie_contrast_temperature",
        "simgcl_temperature",
        "ssl_tau",
    ],
    (_count, "a whole number >= 1"): [
        "epochs",
        "train_batch_size",
        "eval_batch_size",
        "embedding_size",
        "eval_step",
        "n_layers",
        "forget_attack_epochs",
        "unlearn_negatives",
        "ie_n_layers",
        "ie_epochs",
        "ie_batch_size",
        "ie_stopping_step",
        "ie_epochs_per_request",
        "ie_passes",
        "ie_target_passes",
        "ie_sample_size",
        "unlearn_ceu_iterations",
        "unlearn_finetune_batch_size",
        "unlearn_gif_iterations",
        "unlearn_grapheraser_rounds",
        "unlearn_grapheraser_shards",
        "unlearn_ifru_iterations",
        "unlearn_receraser_epochs",
        "unlearn_retrain_requests",
        "unlearn_receraser_rounds",
        "unlearn_receraser_shards",
        "unlearn_receraser_stopping_step",
        "unlearn_sisa_shards",
        "unlearn_sisa_slices",
    ],
    (_count_or_zero, "a whole number >= 0"): [
        "loss_decimal_place",
        "metric_decimal_place",
        "seed",
        "stopping_step",
        "unlearn_finetune_epochs",
        "unlearn_quarantine_versions",
        "worker",
    ],
    (_seed, "a whole number >= 0 or empty"): ["forget_seed"],
    (_count_or_empty, "a whole number >= 1 or empty"): ["unlearn_shard_batch_size", "unlearn_shard_workers"],
    (_scale, "a number > 0 or auto"): ["unlearn_gif_scale"],
    (_switch, "True or False"): ["forget_strict", "simgcl_sum"],
    (_flag, "True or False"): [
        "enable_amp",
        "enable_scaler",
        "filter_inter_by_user_or_item",
        "log_wandb",
        "normalize_all",
        "reproducibility",
        "show_progress",
        "shuffle",
        "use_gpu",
    ],
    (_learner, f"one of {', '.join(LEARNERS)}"): ["learner"],
    (_state, f"one of {', '.join(STATES)}"): ["state"],
    (_clip, "empty or a dict, e.g. {'max_norm': 5}"): ["clip_grad_norm"],
}


def check_values(settings: Mapping[str, Any]) -> None:
    """Refuse values that would fail late or mean nothing.

    Args:
        settings: final settings; missing keys pass.

    Raises:
        UsageError: names the setting, its value and what it may be.
    """
    for key, choices in CHOICES.items():
        if key in settings and settings[key] not in choices:
            raise unknown(key, settings[key], choices)
    for (holds, meaning), keys in RULES.items():
        for key in keys:
            if key in settings and not holds(settings[key]):
                raise UsageError(f"Setting '{key}' must be {meaning}, not {settings[key]!r}.")
    check_data_settings(settings)
    for key in ("nproc", "world_size"):
        if (settings.get(key) or 1) not in (1, -1):
            raise UsageError(
                f"Setting '{key}' must be 1, not {settings[key]!r}: RecBole's distributed training needs NCCL and calls a model "
                "without its graph, so it cannot train an unlearnable one. Sweeps (--params_file) and shards use all cores."
            )
    topk = settings["topk"] if isinstance(settings["topk"], (list, tuple)) else [settings["topk"]]
    if not topk or not all(map(_count, topk)):
        raise UsageError(f"Setting 'topk' must be a whole number >= 1 or a list of them, not {settings['topk']!r}.")
    metrics = settings["metrics"] if isinstance(settings["metrics"], (list, tuple)) else [settings["metrics"]]
    name, _, k = str(settings["valid_metric"]).partition("@")
    computed = {str(metric).lower() for metric in metrics} - {"mi-bf", "mi-ng"}  # no request is known in training
    has_no_k = name.lower() == "gauc" and not k
    if name.lower() not in computed or not (has_no_k or k in map(str, topk)):
        raise UsageError(
            f"Setting 'valid_metric' must be METRIC@K of a ranking metric in {metrics} and a K in {topk}, "
            f"not {settings['valid_metric']!r}."
        )
