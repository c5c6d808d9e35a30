"""Runs trainings as Ray tasks and trials with Ray Tune."""

import gc
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recbole_unlearn.sweep.progress import Progress, reason

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # lines of two trainings look alike
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # verbose=0 does not silence the new output
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the records are our own
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # let Ctrl-C through to the caller
os.environ.setdefault(
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
)  # a later ray's default; set here, ray prints no notice of it

import joblib
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.sweep.simulation import PARTS, Simulation, State, measure_all, train_part
from recbole_unlearn.sweep.space import SearchRange, points_of
from recbole_unlearn.sweep.trials import DONE, FAILED, Goal, Trials, record
from recbole_unlearn.task import UnlearningData

if TYPE_CHECKING:
    from ray.tune.search.optuna import OptunaSearch

SECONDS_TO_KNOCK = 10
FIRST_RUNG, REDUCTION = 2, 2  # ASHA: the better half of the trials goes on after epochs 2, 4, 8, ...
NO_LAST_RUNG = 1 << 20


class Cluster:
    """This machine, or a running Ray cluster, which runs trainings and trials side by side.

    Args:
        address: of a cluster; ``None`` starts one on this machine, which ends with the block.
        resources: of a training or trial, e.g. ``{"cpu": 1, "gpu": 0.5}``.

    Raises:
        UsageError: there is no cluster, or no machine of it can hold a trial.
    """

    def __init__(self, address: str | None, resources: Mapping[str, float]):
        self.address, self.resources = address, resources

    def __enter__(self) -> "Cluster":
        # A trial is a thread: with one malloc arena per thread, a worker would keep the memory that ended trials free.
        environment = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
        options = {"log_to_driver": True, "logging_level": "ERROR", "runtime_env": environment}
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # one line of ours reports a failed trial
        if ray.is_initialized():
            raise UsageError("Ray is running in this process already: call ray.shutdown() before a sweep.")
        if self.address is None:
            size = {"num_cpus": joblib.cpu_count(), "num_gpus": torch.cuda.device_count()}
            ray.init("local", **size, include_dashboard=False, **options)
        else:
            try:
                _knock(self.address)
                ray.init(self.address, **options)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise UsageError(f"No Ray cluster at '{self.address}': {' '.join(str(error).split())}") from None
        try:
            self._check_size()
        except UsageError:
            ray.shutdown()
            raise
        return self

    def _check_size(self):
        """Refuse a trial that no machine can hold; ray would wait forever."""
        has = [
            {name: node["Resources"].get(name.upper(), 0) for name in self.resources}
            for node in ray.nodes()
            if node["Alive"]
        ]
        if not any(all(node[name] >= amount for name, amount in self.resources.items()) for node in has):
            most = {name: max(node[name] for node in has) for name in self.resources}
            wanted, there = (
                ",".join(f"{name}:{amount:g}" for name, amount in some.items()) for some in (self.resources, most)
            )
            raise UsageError(
                f"A trial takes {wanted}, but a machine has at most {there}: change --resources_per_trial."
            )

    def __exit__(self, *_: Any) -> None:
        ray.shutdown()

    def simulate(self, settings: Sequence[dict[str, Any]], data: Sequence[UnlearningData]) -> list[Simulation]:
        """Train the models of simulated requests side by side, or load those that were trained before.

        Args:
            settings: of :func:`~recbole_unlearn.sweep.simulation.simulation_settings`, one dict per request.
            data: of the same requests.
        """
        tasks = []
        for each, its_data in zip(settings, map(ray.put, data)):
            tasks.append([self._task(train).remote(each, its_data, part, self._setup(each)) for part in PARTS])
        states = [self._gather(pair) for pair in tasks]
        return [Simulation.of(*each, *its_states) for *each, its_states in zip(settings, data, states)]

    def measure(self, simulations: Sequence[Simulation], points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Try points outside of a search, and return their records."""
        shared, setup = [ray.put(simulation) for simulation in simulations], self._setup(simulations[0].settings)
        tasks = [self._task(try_out).remote(shared, point, setup) for point in points]
        return [self._record(point, task) for point, task in zip(points, tasks)]

    def search(
        self,
        simulations: Sequence[Simulation],
        trials: Trials,
        space: Mapping[str, SearchRange],
        search: str,
        num_samples: int,
        scheduler: str,
        goal: Goal,
    ) -> None:
        """Try the points of a space that have no record yet with Ray Tune; each leaves its record in ``trials``.

        Args:
            simulations: shared by all trials.
            trials: gives and takes the records.
            space: of :func:`~recbole_unlearn.sweep.space.read_space`.
            search, num_samples, scheduler: see :func:`recbole_unlearn.quick_start.run_sweep`.
            goal: of the search and the scheduler.
        """
        ended, seed = trials.ended(), Config(stored=simulations[0].settings)["seed"]
        if search == "optuna":
            n_trials = num_samples - len(ended)
            source = {"search_alg": optuna_search(space, goal, seed, ended), "num_samples": n_trials}
            params = None
        else:
            points = trials.without_ended(points_of(space, search, num_samples, seed))
            n_trials, source, params = len(points), {}, {"point": tune.grid_search(points)}
        logging.getLogger().info(f"{n_trials} trials to make, {len(ended)} made before: {trials.folder}")
        if n_trials <= 0:
            return
        shared, setup = [ray.put(simulation) for simulation in simulations], self._setup(simulations[0].settings)
        asha = ASHAScheduler("epoch", goal.metric, goal.mode, NO_LAST_RUNG, FIRST_RUNG, REDUCTION)
        tune.Tuner(
            tune.with_resources(tune.with_parameters(trial, shared=shared, setup=setup), self.resources),
            param_space=params,
            tune_config=tune.TuneConfig(
                scheduler=asha if scheduler == "asha" else None,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,  # with all settings in it, a name could be too long
                **source,
            ),
            run_config=tune.RunConfig(
                name="ray",  # ray's own files
                storage_path=os.path.dirname(trials.folder),
                callbacks=[Progress(trials, n_trials)],
                verbose=0,
            ),
        ).fit()

    def _setup(self, settings):
        """The arguments of :func:`begin` in a worker, for a run of these settings."""
        own = {"models": MODELS.own([settings["model"]]), "methods": METHODS.own(settings["unlearn_methods"])}
        return {"threads": max(1, int(self.resources.get("cpu", 1))), **own}

    def _task(self, function):
        return ray.remote(num_cpus=self.resources.get("cpu", 0), num_gpus=self.resources.get("gpu", 0))(function)

    def _gather(self, tasks):
        try:
            return ray.get(tasks)
        except ray.exceptions.RayError as error:
            if isinstance(getattr(error, "cause", None), UsageError):
                raise error.cause from None
            raise UsageError(f"A training in a worker failed: {reason(str(error))}") from error

    def _record(self, point, task):
        try:
            return record(point, DONE, ray.get(task))
        except ray.exceptions.RayError as error:
            return record(point, FAILED, error=reason(str(error)))


def default_resources(device: torch.device) -> dict[str, float]:
    """The resources of a training or trial: a core, and a GPU if this machine trains on one."""
    return {"cpu": 1, "gpu": 1} if device.type == "cuda" else {"cpu": 1}


def train(settings: dict[str, Any], data: UnlearningData, part: str, setup: dict[str, Any]) -> State:
    """In a worker: train one of the two models of a simulated request, and show its epochs."""
    begin(**setup, level=logging.INFO)
    return train_part(Config(stored={**settings, **gpus_given()}), data, part)


def try_out(shared: Sequence[ray.ObjectRef], point: dict[str, Any], setup: dict[str, Any]) -> dict[str, Any]:
    """In a worker: run one trial outside of Ray Tune, on simulations that it fetches one at a time."""
    begin(**setup)
    return measure_all(map(ray.get, shared), {**point, **gpus_given()})


def trial(parameters: dict[str, Any], shared: Sequence[ray.ObjectRef], setup: dict[str, Any]) -> None:
    """In a worker: run one trial of Ray Tune, and report every epoch of the preparation and the end.

    The end has no ``epoch``: a fine-tuned result does not compare with epochs of pre-training.
    """
    begin(**setup)
    tune.report(measure_all(map(ray.get, shared), {**parameters["point"], **gpus_given()}, tune.report))


def optuna_search(
    space: Mapping[str, SearchRange], goal: Goal, seed: int, ended: Sequence[dict[str, Any]]
) -> "OptunaSearch":
    """Optuna's sampler (TPE), which knows the trials that have ended."""
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = [trial for trial in ended if trial["status"] == DONE]
    return OptunaSearch(
        space={f"point/{key}": values.distribution() for key, values in space.items()},
        metric=goal.metric,
        mode=goal.mode,
        sampler=optuna.samplers.TPESampler(seed=seed + len(ended)),  # the same seed would draw the same points again
        points_to_evaluate=[{f"point/{key}": value for key, value in trial["point"].items()} for trial in known]
        or None,
        evaluated_rewards=[trial["result"][goal.metric] for trial in known] or None,
    )


def gpus_given() -> dict[str, str]:
    """In a worker: the setting for the GPUs that ray gives it."""
    return {"gpu_id": ",".join(str(gpu) for gpu in ray.get_gpu_ids())}


def begin(
    threads: int, models: Sequence[type] = (), methods: Sequence[type] = (), level: int = logging.WARNING
) -> None:
    """In a worker: register classes, set threads and logging, and free the memory of an earlier trial.

    Args:
        threads: of torch.
        models, methods: the user's own classes, which a fresh process does not know.
        level: of logging.
    """
    for registry, classes in ((MODELS, models), (METHODS, methods)):
        for cls in classes:
            registry.register(cls)
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout, force=True)
    torch.set_num_threads(threads)
    gc.collect()  # a trial leaves cycles of references behind


def _knock(address):
    """Refuse at once if nobody listens: ray would try for minutes and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_KNOCK).close()
