"""Ray: trainings as tasks, trials by Ray Tune. The only file that imports ray."""

import gc
import logging
import os
import socket
import sys

from recbole_unlearn.sweep.progress import Progress, reason

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # epochs of two trainings look alike
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output is not silenced by verbose=0
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the records are our own
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # let Ctrl-C through to the caller
os.environ.setdefault(
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
)  # what ray announces for a later version, and no notice of it

import joblib
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.sweep.simulation import PARTS, Simulation, measure_all, train_part
from recbole_unlearn.sweep.space import points_of
from recbole_unlearn.sweep.trials import DONE, FAILED, record

SECONDS_TO_KNOCK = 10
FIRST_RUNG, REDUCTION = 2, 2  # ASHA: the better half of the trials goes on after epochs 2, 4, 8, ...
NO_LAST_RUNG = 1 << 20


class Cluster:
    """This machine, or a Ray cluster that is running; trainings and trials go there side by side.

    Args:
        address (str): of a cluster; ``None`` starts one on this machine for as long as the block lasts.
        resources (dict): of a training or trial, e.g. ``{"cpu": 1, "gpu": 0.5}``.

    Raises:
        UsageError: no cluster is there, or none of this machine's size can hold a trial.
    """

    def __init__(self, address, resources):
        self.address, self.resources = address, resources

    def __enter__(self):
        # A trial is a thread: with one malloc arena a thread, what ended trials freed would stay with the worker.
        environment = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
        options = {"log_to_driver": True, "logging_level": "ERROR", "runtime_env": environment}
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial is told in one line of ours
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
        """Refuse a trial that no machine can hold; ray would wait for one for ever."""
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

    def __exit__(self, *_):
        ray.shutdown()

    def simulate(self, settings, data):
        """Train the models of simulated requests, side by side.

        Args:
            settings (list of dict): of :func:`~recbole_unlearn.sweep.simulation.simulation_settings`.
            data (list of UnlearningData): of the same requests.

        Returns:
            list of Simulation: trainings that had been made before were loaded.
        """
        tasks = []
        for each, its_data in zip(settings, map(ray.put, data)):
            tasks.append([self._task(train).remote(each, its_data, part, self._setup(each)) for part in PARTS])
        states = [self._gather(pair) for pair in tasks]
        return [Simulation.of(*each, *its_states) for *each, its_states in zip(settings, data, states)]

    def measure(self, simulations, points):
        """Records of points that are tried outside of a search, a list."""
        shared, setup = [ray.put(simulation) for simulation in simulations], self._setup(simulations[0].settings)
        tasks = [self._task(try_out).remote(shared, point, setup) for point in points]
        return [self._record(point, task) for point, task in zip(points, tasks)]

    def search(self, simulations, trials, space, search, num_samples, scheduler, goal):
        """Try points of a space with Ray Tune, but for those that have a record; each leaves its record in ``trials``.

        Args:
            simulations (list of Simulation): shared by all.
            trials (Trials): gives and takes the records.
            space (dict): of :func:`~recbole_unlearn.sweep.space.read_space`.
            search, num_samples, scheduler: see :func:`recbole_unlearn.quick_start.run_sweep`.
            goal (Goal): of the search and the scheduler.
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
                trial_dirname_creator=lambda trial: (
                    trial.trial_id
                ),  # settings in a name may be longer than a name may be
                **source,
            ),
            run_config=tune.RunConfig(
                name="ray",  # what ray itself writes
                storage_path=os.path.dirname(trials.folder),
                callbacks=[Progress(trials, n_trials)],
                verbose=0,
            ),
        ).fit()

    def _setup(self, settings):
        """What :func:`begin` takes in a worker, for a run of these settings."""
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


def default_resources(device):
    """Of a training or trial: a core, and a GPU if this machine trains on one."""
    return {"cpu": 1, "gpu": 1} if device.type == "cuda" else {"cpu": 1}


def train(settings, data, part, setup):
    """In a worker: one of the two models of a simulated request; its epochs are shown."""
    begin(**setup, level=logging.INFO)
    return train_part(Config(stored={**settings, **gpus_given()}), data, part)


def try_out(shared, point, setup):
    """In a worker: the result of one trial outside of Ray Tune, on simulations that are fetched one at a time."""
    begin(**setup)
    return measure_all(map(ray.get, shared), {**point, **gpus_given()})


def trial(parameters, shared, setup):
    """In a worker: one trial of Ray Tune, which reports every epoch of the preparation and its end.

    The end has no ``epoch``: a fine-tuned result is nothing to compare epochs of pre-training with.
    """
    begin(**setup)
    tune.report(measure_all(map(ray.get, shared), {**parameters["point"], **gpus_given()}, tune.report))


def optuna_search(space, goal, seed, ended):
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


def gpus_given():
    """In a worker: the setting for the GPUs that ray has given it."""
    return {"gpu_id": ",".join(str(gpu) for gpu in ray.get_gpu_ids())}


def begin(threads, models=(), methods=(), level=logging.WARNING):
    """In a worker: its threads, what is logged, and nothing left of an earlier trial.

    Args:
        threads (int): of torch.
        models, methods (sequence of type): the user's own, which a fresh process does not know.
        level (int): of logging.
    """
    for registry, classes in ((MODELS, models), (METHODS, methods)):
        for cls in classes:
            registry.register(cls)
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout, force=True)
    torch.set_num_threads(threads)
    gc.collect()  # what a trial leaves behind refers to itself


def _knock(address):
    """Refuse at once where nobody listens: ray would try for minutes and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_KNOCK).close()
