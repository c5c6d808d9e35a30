"""Ray: trainings as tasks, trials by Ray Tune. The only file that imports ray."""

import logging
import os
import re
import socket
import sys
from pathlib import Path
from time import perf_counter

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # epochs of two trainings look alike
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output is not silenced by verbose=0
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the records are our own
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # let Ctrl-C through to the caller
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import joblib
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.sweep.report import table, told
from recbole_unlearn.sweep.simulation import PARTS, Simulation, measure, train_part
from recbole_unlearn.sweep.trials import DONE, FAILED, STOPPED, record

SECONDS_BETWEEN_TABLES = 30
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
        options = {"log_to_driver": True, "logging_level": "ERROR"}
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial is told in one line of ours
        if ray.is_initialized():
            raise UsageError("Ray is running in this process already: call ray.shutdown() before a sweep.")
        if self.address is not None:
            try:
                _knock(self.address)
                ray.init(self.address, **options)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise UsageError(f"No Ray cluster at '{self.address}': {' '.join(str(error).split())}") from None
            return self
        has = {"cpu": joblib.cpu_count(), "gpu": torch.cuda.device_count()}
        for name, amount in self.resources.items():
            if amount > has[name]:
                raise UsageError(f"--resources_per_trial asks for {name}:{amount:g}, but this machine has {has[name]}.")
        ray.init("local", num_cpus=has["cpu"], num_gpus=has["gpu"], include_dashboard=False, **options)
        return self

    def __exit__(self, *_):
        ray.shutdown()

    def simulate(self, settings, data):
        """Train the models of a simulated request, side by side.

        Args:
            settings (dict): of :func:`~recbole_unlearn.sweep.simulation.simulation_settings`.
            data (UnlearningData): of the request.

        Returns:
            Simulation: its trainings were loaded if they had been made before.
        """
        shared = ray.put(data)
        states = self._gather([self._task(train).remote(settings, shared, part, self._threads) for part in PARTS])
        return Simulation.of(Config(config_dict=settings), data, *states)

    def measure(self, settings, simulation, points):
        """Records of points that are tried outside of a search, a list."""
        shared, task = ray.put(simulation), self._task(try_out)
        return self._gather([task.remote(settings, point, shared, self._threads) for point in points])

    def search(self, settings, simulation, trials, points, searcher, n_trials, goal, scheduler):
        """Run trials with Ray Tune; each leaves its record in ``trials``.

        Args:
            settings (dict): that the points are put over.
            simulation (Simulation): shared by all.
            trials (Trials): takes the records.
            points (list of dict): to try; ``None`` leaves them to the searcher.
            searcher: of Ray Tune.
            n_trials (int): how many trials will run.
            goal (Goal): of the scheduler.
            scheduler (str): ``asha`` or ``none``.
        """
        asha = ASHAScheduler("epoch", goal.metric, goal.mode, NO_LAST_RUNG, FIRST_RUNG, REDUCTION)
        runnable = tune.with_parameters(trial, settings=settings, simulation=simulation, threads=self._threads)
        tune.Tuner(
            tune.with_resources(runnable, self.resources),
            param_space=None if points is None else {"point": tune.grid_search(points)},
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=n_trials if points is None else 1,
                scheduler=asha if scheduler == "asha" else None,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,  # settings in a name may be longer than a name may be
            ),
            run_config=tune.RunConfig(
                name="ray",  # what ray itself writes
                storage_path=os.path.dirname(trials.folder),
                callbacks=[Progress(trials, n_trials)],
                verbose=0,
            ),
        ).fit()

    @property
    def _threads(self):
        return max(1, int(self.resources.get("cpu", 1)))

    def _task(self, function):
        return ray.remote(function).options(num_cpus=self.resources.get("cpu", 0), num_gpus=self.resources.get("gpu", 0))

    def _gather(self, tasks):
        try:
            return ray.get(tasks)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UsageError):
                raise error.cause from None
            raise


def default_resources(device):
    """Of a training or trial: a core, and a GPU if this machine trains on one."""
    return {"cpu": 1, "gpu": 1} if device.type == "cuda" else {"cpu": 1}


class Progress(tune.Callback):
    """Records each trial as it ends, and shows all of them.

    Args:
        trials (Trials): takes the records.
        n_trials (int): that will run.
    """

    def __init__(self, trials, n_trials):
        self.trials, self.n_trials = trials, n_trials
        self.ended, self.running, self.shown_at = 0, {}, perf_counter()

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.running[trial.trial_id] = {"point": trial.config["point"], "status": "running", "result": _own(result)}
        if perf_counter() - self.shown_at > SECONDS_BETWEEN_TABLES:
            self._show()

    def on_trial_complete(self, iteration, trials, trial, **info):
        result = _own(trial.last_result)
        self._end(record(trial.config["point"], DONE if result["final"] else STOPPED, result), trial)

    def on_trial_error(self, iteration, trials, trial, **info):
        self._end(record(trial.config["point"], FAILED, error=reason(Path(trial.error_file).read_text(encoding="utf-8"))), trial)

    def _end(self, ended, trial):
        self.trials.add(ended)
        self.running.pop(trial.trial_id, None)
        self.ended += 1
        point = ", ".join(f"{key} {value}" for key, value in ended["point"].items())
        after = f", stopped after epoch {ended['result']['epoch']}" if ended["status"] == STOPPED else ""
        logging.getLogger().info(f"Trial {self.ended}/{self.n_trials} ({point}): {told(ended)}{after}")

    def _show(self):
        self.shown_at = perf_counter()
        logging.getLogger().info(f"Trials now running, {self.ended} of {self.n_trials} ended\n{table(list(self.running.values()))}")


def train(settings, data, part, threads):
    """In a worker: one of the two models of a simulated request; its epochs are shown."""
    return train_part(_config(settings, threads, logging.INFO), data, part)


def try_out(settings, point, simulation, threads):
    """In a worker: the record of one trial outside of Ray Tune."""
    try:
        return record(point, DONE, measure(_config({**settings, **point}, threads), simulation))
    except UsageError as error:
        return record(point, FAILED, error=str(error))


def trial(parameters, settings, simulation, threads):
    """In a worker: one trial of Ray Tune, which reports every epoch of the preparation and its end."""
    config = _config({**settings, **parameters["point"]}, threads)
    tune.report(measure(config, simulation, tune.report))


def optuna_search(space, goal, seed, ended):
    """Optuna's sampler (TPE), which knows the trials that have ended.

    Raises:
        UsageError: Optuna is not installed.
    """
    try:
        import optuna
        from ray.tune.search.optuna import OptunaSearch
    except ImportError:
        raise UsageError("--search=optuna needs Optuna: pip install optuna.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = [trial for trial in ended if trial["status"] == DONE]
    return OptunaSearch(
        space={f"point/{key}": values.distribution() for key, values in space.items()},
        metric=goal.metric,
        mode=goal.mode,
        sampler=optuna.samplers.TPESampler(seed=seed + len(ended)),  # the same seed would draw the same points again
        points_to_evaluate=[{f"point/{key}": value for key, value in trial["point"].items()} for trial in known] or None,
        evaluated_rewards=[trial["result"][goal.metric] for trial in known] or None,
    )


def reason(text):
    """What a trial ended with, in one line of the text that ray keeps: after a heading, a traceback or an account of a death."""
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()] or ["no reason is known"]
    line = lines[-1] if any(line.startswith("Traceback") or line.startswith("File ") for line in lines) or "ray::" in text else lines[0]
    return re.sub(r"^recbole_unlearn\.errors\.\w+: ", "", line)


def _config(settings, threads, level=logging.WARNING):
    """In a worker: its threads, what it logs, and its GPUs, which are those that ray has given it."""
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout, force=True)
    torch.set_num_threads(threads)
    return Config(config_dict={**settings, "gpu_id": ",".join(str(gpu) for gpu in ray.get_gpu_ids())})


def _knock(address):
    """Refuse at once where nobody listens: ray would try for minutes and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_KNOCK).close()


def _own(result):
    """What a trial reported, without what Ray adds."""
    added = {"timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date", "time_this_iter_s"}
    added |= {"time_total_s", "pid", "hostname", "node_ip", "config", "time_since_restore", "iterations_since_restore", "experiment_tag"}
    return {key: value for key, value in result.items() if key not in added}
