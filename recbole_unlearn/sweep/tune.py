"""Trains the models of simulated requests as Ray tasks, and tries points on them with Ray Tune."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_unlearn.cluster import Cluster, gpus_given, reason, result

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its tables do not take our headings
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the records are our own
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # let Ctrl-C through to the caller

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.streams import stream_seed
from recbole_unlearn.sweep.report import OUTCOME, outcome
from recbole_unlearn.sweep.simulation import PARTS, Simulation, State, measure_all, train_part
from recbole_unlearn.sweep.space import Space, points_of
from recbole_unlearn.sweep.trials import DONE, FAILED, STOPPED, Goal, Record, Trials, record
from recbole_unlearn.sweep.worker import begin, setup_of
from recbole_unlearn.task import UnlearningData

if TYPE_CHECKING:
    from ray.tune.search.optuna import OptunaSearch

SECONDS_BETWEEN_TABLES = 30
FIRST_RUNG, REDUCTION = 2, 2  # ASHA: the better half of the trials goes on after epochs 2, 4, 8, ...
NO_LAST_RUNG = 1 << 20


def simulate(cluster: Cluster, settings: Sequence[dict[str, Any]], data: Sequence[UnlearningData]) -> list[Simulation]:
    """Train the models of simulated requests side by side, or load those that were trained before.

    Args:
        cluster: trains.
        settings, data: of :func:`~recbole_unlearn.sweep.simulation.simulated_data`.
    """
    tasks = []
    for each, its_data in zip(settings, map(ray.put, data)):
        tasks.append([cluster.submit(train, each, its_data, part, setup_of(cluster, each)) for part in PARTS])
    return [
        Simulation.of(each, its_data, result(original), result(retrain))
        for each, its_data, (original, retrain) in zip(settings, data, tasks)
    ]


def measure(cluster: Cluster, simulations: Sequence[Simulation], points: Sequence[dict[str, Any]]) -> list[Record]:
    """Try points outside of a search, and return their records."""
    shared, setup = _shared(simulations), setup_of(cluster, simulations[0].settings)
    tasks = [cluster.submit(try_out, point, shared, setup) for point in points]
    return [_record(point, task) for point, task in zip(points, tasks)]


def search(
    cluster: Cluster,
    simulations: Sequence[Simulation],
    trials: Trials,
    space: Space,
    source: str,
    num_samples: int,
    scheduler: str,
    goal: Goal,
) -> None:
    """Try the points of a space that have no record yet; each leaves its record in ``trials``.

    Args:
        cluster: runs the trials.
        simulations: shared by all trials.
        trials: gives and takes the records.
        space: of :func:`~recbole_unlearn.sweep.space.read_space`.
        source, num_samples, scheduler: see :func:`recbole_unlearn.quick_start.run_sweep` (``source`` is its search).
        goal: of the search and the scheduler.
    """
    settings, ended = simulations[0].settings, trials.ended()
    seed = Config(stored=settings)["seed"]
    if source == "optuna":
        n_trials, params = num_samples - len(ended), None
        search_alg = optuna_search(space, goal, seed, ended)
    else:
        known = [trial["point"] for trial in ended]
        points = [point for point in points_of(space, source, num_samples, seed) if point not in known]
        n_trials, params, search_alg = len(points), {"point": tune.grid_search(points)}, None
    logging.getLogger().info(f"{n_trials} trials to make, {len(ended)} made before: {trials.folder}")
    if n_trials <= 0:
        return
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # one line of ours reports a failed trial
    trainable = tune.with_parameters(trial, shared=_shared(simulations), setup=setup_of(cluster, settings))
    asha = ASHAScheduler("measures/epoch", f"measures/{goal.metric}", goal.mode, NO_LAST_RUNG, FIRST_RUNG, REDUCTION)
    tune.Tuner(
        tune.with_resources(trainable, cluster.resources),
        param_space=params,
        tune_config=tune.TuneConfig(
            search_alg=search_alg,
            num_samples=n_trials if search_alg else 1,
            scheduler=asha if scheduler == "asha" else None,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,  # with all settings in it, a name could be too long
        ),
        run_config=tune.RunConfig(
            name="ray",  # ray's own files
            storage_path=os.path.dirname(trials.folder),
            callbacks=[Recorder(trials, n_trials)],
            progress_reporter=tune.CLIReporter(
                parameter_columns={f"point/{key}": key for key in space},
                metric_columns={f"measures/{key}": key for key in ("epoch", *OUTCOME)},
                max_column_length=40,
                max_report_frequency=SECONDS_BETWEEN_TABLES,
                print_intermediate_tables=True,
            ),
            verbose=1,
        ),
    ).fit()


class Recorder(tune.Callback):
    """Records each trial as it ends, and logs its outcome.

    Args:
        trials: takes the records.
        n_trials: number of trials that will run.
    """

    def __init__(self, trials: Trials, n_trials: int):
        self.trials, self.n_trials, self.n_ended = trials, n_trials, 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        measures = trial.last_result["measures"]
        stopped = {"by": self.trials.stopper} if "epoch" in measures else {}
        self._end(record(trial.config["point"], STOPPED if stopped else DONE, measures, **stopped))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = reason(Path(trial.error_file).read_text(encoding="utf-8"))
        self._end(record(trial.config["point"], FAILED, error=error))

    def _end(self, ended):
        self.trials.add(ended)
        self.n_ended += 1
        point = ", ".join(f"{key} {value}" for key, value in ended["point"].items())
        after = f", stopped after epoch {ended['result']['epoch']}" if ended["status"] == STOPPED else ""
        logging.getLogger().info(f"Trial {self.n_ended}/{self.n_trials} ({point}): {outcome(ended)}{after}")


def optuna_search(space: Space, goal: Goal, seed: int, ended: Sequence[Record]) -> "OptunaSearch":
    """Optuna's sampler (TPE), which knows the trials that have ended."""
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = [trial for trial in ended if trial["status"] == DONE]
    return OptunaSearch(
        OptunaSearch.convert_search_space({"point": dict(space)}),
        metric=f"measures/{goal.metric}",
        mode=goal.mode,
        # the stream of an earlier call would draw its points again
        sampler=optuna.samplers.TPESampler(seed=stream_seed(seed, "Optuna", len(ended))),
        points_to_evaluate=[{f"point/{key}": trial["point"][key] for key in space} for trial in known] or None,
        evaluated_rewards=[trial["result"][goal.metric] for trial in known] or None,
    )


def train(settings: dict[str, Any], data: UnlearningData, part: str, setup: dict[str, Any]) -> State:
    """In a worker: train one of the two models of a simulated request, and show its epochs."""
    begin(**setup, level=logging.INFO)
    return train_part(Config(stored={**settings, **gpus_given()}), data, part)


def try_out(
    point: dict[str, Any], shared: Sequence[ray.ObjectRef], setup: dict[str, Any], report: Any = None
) -> dict[str, Any]:
    """In a worker: measure a point on simulations that it fetches one at a time; ``report`` takes its epochs."""
    begin(**setup)
    return measure_all(map(ray.get, shared), {**point, **gpus_given()}, report)


def trial(parameters: dict[str, Any], shared: Sequence[ray.ObjectRef], setup: dict[str, Any]) -> None:
    """In a worker: run one trial of Ray Tune, and report every epoch of the preparation and the end.

    The end has no ``epoch``: a fine-tuned result does not compare with epochs of pre-training.
    """

    def report(measures):
        tune.report({"measures": measures})  # apart from what Ray adds

    report(try_out(parameters["point"], shared, setup, report))


def _shared(simulations):
    return [ray.put(simulation) for simulation in simulations]


def _record(point, task):
    try:
        return record(point, DONE, result(task))
    except UsageError as error:
        return record(point, FAILED, error=str(error))
