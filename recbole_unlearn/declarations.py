"""All declared settings: those of every run, and those of backbones and methods.

The settings of parts above :class:`~recbole_unlearn.config.Config`, which cannot be imported here, are declared here.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from recbole_unlearn.data.attack import AttackSettings
from recbole_unlearn.data.request import RequestSettings
from recbole_unlearn.data.settings import DataSettings
from recbole_unlearn.data.spam import SpamSettings
from recbole_unlearn.evaluator.evaluator import EvaluationSettings
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.settings import Count, CountOrZero, Flag, Settings, Share, Weight, Words, setting
from recbole_unlearn.trainer.resumable import TrainingSettings

LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")  # RecBole reads any other name as Adam
STATES = ("debug", "info", "warning", "error", "critical")  # and any other name as INFO
MOST_DAYS, SECONDS_OF_A_DAY = 36_500, 86_400  # a hundred years: dates end with the year 9999


def _json(path):
    if not path.endswith(".json"):
        raise ValueError
    return path


def _one_of(names):
    def check(name):
        if name.lower() not in names:
            raise ValueError
        return name

    return AfterValidator(check)


Learner = Annotated[str, _one_of(LEARNERS), Words(f"one of {', '.join(LEARNERS)}")]
State = Annotated[str, _one_of(STATES), Words(f"one of {', '.join(STATES)}")]


def _has_a_norm(arguments):
    norm = arguments.get("max_norm")
    if not isinstance(norm, (int, float)) or isinstance(norm, bool):
        raise ValueError
    return arguments


def _is_balanced(models):
    if models % 2 or 0 < models < LEAST_MODELS:
        raise ValueError
    return models


LEAST_MODELS = 4  # of an audit: two that saw a unit and two that did not
AuditModels = Annotated[CountOrZero, AfterValidator(_is_balanced), Words("0, or an even number >= 4")]


class RunSettings(Settings):
    """How to unlearn and report"""

    unlearn_methods: list[str] | str = setting(["Retrain", "UnlearnRec", "DropEdges"], "Methods, or `all` that can.")
    unlearn_measure_on: Literal["test", "valid"] = setting(
        "test", "Held-out part for the report's metrics: test, or valid (half of it) to choose settings."
    )
    unlearn_audit_models: AuditModels = setting(
        0, "Number of reference models of a membership audit, half of which see each unit; 0 makes none."
    )
    unlearn_sequence: CountOrZero = setting(
        0, "Number of requests of single users that each method forgets one after the other; 0 makes none."
    )
    unlearn_workers: Count | None = setting(
        None,
        "Trainings at a time that do not need each other, e.g. the floor's; they share the threads. Empty takes two on "
        "a CPU with two threads or more, or one a GPU.",
    )
    nproc: Count = setting(
        1,
        "Processes that train a model together, each with some columns of its table; they share the threads, or take a "
        "GPU each. Must divide the table's width.",
    )
    ray_address: str | None = setting(
        None,
        "A running Ray cluster, e.g. auto or 10.0.0.1:6379, for trainings that do not need each other (shards, the "
        "floor, an audit, --seeds) and for the processes of --nproc; empty uses this machine.",
    )
    report_file: Annotated[str, AfterValidator(_json), Words("a path that ends in .json")] | None = setting(
        None,
        "Path of the JSON report, whose other files lie beside it; empty names it by model, dataset and request.",
    )


class DeletionSettings(Settings):
    """Deletion requests against a saved model (--checkpoint)"""

    unlearn_least_utility: Share = setting(
        0.98,
        "Least share of a ranking on validation data; a lower one fails a receipt's check, makes retraining due, and "
        "costs a trial of a sweep.",
    )
    unlearn_quarantine_days: Annotated[
        float, Field(ge=0, le=MOST_DAYS), Words(f"a number of days from 0 to {MOST_DAYS}")
    ] = setting(7, "Days to keep older versions, which still hold what was forgotten.")
    unlearn_quarantine_versions: CountOrZero = setting(3, "Largest number of older versions to keep.")
    unlearn_grace_seconds: Annotated[
        float,
        Field(ge=0, le=MOST_DAYS * SECONDS_OF_A_DAY),
        Words(f"a number of seconds from 0 to {MOST_DAYS * SECONDS_OF_A_DAY}"),
    ] = setting(600, "Seconds that a version always stays after the next one is published: somebody may be reading it.")
    unlearn_exact_columns: CountOrZero = setting(
        32, "Items whose weights a receipt of a fitted model compares with a refit's; 0 takes all."
    )
    unlearn_retrain_requests: Count = setting(1000, "Requests since the last training from which retraining is due.")
    train_file: str | None = setting(
        None,
        "An .inter file with the training rows of a checkpoint of RecBole's; empty if its own settings give them.",
    )
    unlearn_exact_obstacle: str | None = setting(
        None, "Why `--exact` cannot train an imported model again (the import writes it); empty if it can."
    )
    unlearn_retrain_share: Share = setting(
        0.05, "Share of the interactions forgotten since the last training from which retraining is due."
    )


class SinkSettings(Settings):
    """Where a store hands its versions on to, and who signs its receipts"""

    unlearn_sinks: list[str] | None = setting(
        None, "Sinks of each new version, of embeddings, index, lists and mlflow; empty has none."
    )
    unlearn_sink_folder: str | None = setting(
        None, "Folder of what sinks write, a folder for each sink and version; empty takes `sinks` in the store."
    )
    unlearn_sink_top: Count = setting(
        20, "Length of the lists of the sink `lists`, and of the searches that check `index`."
    )
    unlearn_index: Literal["faiss", "usearch"] = setting("faiss", "Library of the sink `index`.")
    unlearn_sink_recall: Share = setting(
        0.95, "Least share of exact top-K lists that searches in an index must find; a worse index is not handed on."
    )
    unlearn_mlflow_uri: str | None = setting(
        None, "Tracking and registry URI of the sink `mlflow`, without a password; empty takes MLflow's own."
    )
    unlearn_mlflow_model: str | None = setting(
        None, "Registered model of the sink `mlflow`; empty names it by model and dataset."
    )
    unlearn_signing_key: str | None = setting(
        None, "Private Ed25519 key (PEM) that signs receipts; empty takes the store's own, made at the first call."
    )


class Overall(
    TrainingSettings,
    EvaluationSettings,
    RequestSettings,
    AttackSettings,
    SpamSettings,
    RunSettings,
    DeletionSettings,
    SinkSettings,
):
    """The plugin's settings of every run."""


class RecBoleSettings(DataSettings):
    """Settings whose defaults RecBole gives, and that it takes for something else if they are wrong."""

    clip_grad_norm: None | Annotated[dict, AfterValidator(_has_a_norm), Words("a dict, e.g. {'max_norm': 5}")]
    enable_amp: Flag
    enable_scaler: Flag
    learner: Learner
    log_wandb: Flag
    loss_decimal_place: CountOrZero
    metric_decimal_place: CountOrZero
    reproducibility: Flag
    seed: CountOrZero
    show_progress: Flag
    shuffle: Flag
    state: State | None
    use_gpu: Flag
    weight_decay: Weight
    worker: CountOrZero


def declarations(classes: Iterable[type[Any]] = ()) -> list[type[Settings]]:
    """The declarations of RecBole's settings, of every run's, and of all shipped backbones and methods.

    Args:
        classes: more backbones and methods, e.g. a user's own.
    """
    shipped = [*map(MODELS.__getitem__, MODELS.shipped()), *map(METHODS.__getitem__, METHODS.shipped())]
    return [RecBoleSettings, Overall, *dict.fromkeys(cls.settings for cls in (*shipped, *classes))]
