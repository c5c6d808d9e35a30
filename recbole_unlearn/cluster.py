"""Ray on this machine or on a running cluster, and what a worker does before its work."""

import gc
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # lines of two trainings look alike
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a later default; set here, ray prints no notice

import joblib
import ray
import torch

from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS

SECONDS_TO_KNOCK = 10
# A trial is a thread: with one malloc arena per thread, a worker would keep the memory that ended trials free.
WORKERS: dict[str, Any] = {
    "runtime_env": {"env_vars": {"MALLOC_ARENA_MAX": "1"}},
    "log_to_driver": True,
    "logging_level": "ERROR",
}


class Cluster:
    """This machine, or a running Ray cluster, which runs tasks side by side; a context.

    Args:
        address: of a cluster; ``None`` starts one on this machine, which ends with the block.
        resources: of a task, e.g. ``{"cpu": 1, "gpu": 0.5}``.

    Raises:
        UsageError: there is no cluster, or no machine of it can hold a task.
    """

    def __init__(self, address: str | None, resources: Mapping[str, float]):
        self.address, self.resources = address, dict(resources)

    def __enter__(self) -> "Cluster":
        if ray.is_initialized():
            raise UsageError("Ray is running in this process already: call ray.shutdown() first.")
        if self.address is None:
            n_cpus, n_gpus = joblib.cpu_count(), torch.cuda.device_count()
            ray.init("local", num_cpus=n_cpus, num_gpus=n_gpus, include_dashboard=False, **WORKERS)
        else:
            try:
                _knock(self.address)
                ray.init(self.address, **WORKERS)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise UsageError(f"No Ray cluster at '{self.address}': {' '.join(str(error).split())}") from None
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        have = [{name: machine.get(name.upper(), 0) for name in self.resources} for machine in machines]
        if not any(all(has[name] >= amount for name, amount in self.resources.items()) for has in have):
            ray.shutdown()  # ray would wait for such a machine forever
            most = {name: max(has[name] for has in have) for name in self.resources}
            raise UsageError(
                f"A task takes {_text(self.resources)}, but a machine has at most {_text(most)}: "
                "change --resources_per_trial."
            )
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> ray.ObjectRef:
        """Run a function in a worker with the resources of a task; :func:`result` waits for it."""
        remote = ray.remote(num_cpus=self.resources.get("cpu", 0), num_gpus=self.resources.get("gpu", 0))
        return remote(function).remote(*arguments)

    def map(self, function: Callable[..., Any], jobs: Iterable[tuple]) -> Iterator[Any]:
        """Call a function with each job's arguments, all submitted at once; yield the results in the jobs' order.

        Raises:
            UsageError: a call failed.
        """
        for task in [self.submit(function, *job) for job in jobs]:
            yield result(task)

    def setup(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of :func:`begin` in a worker, for a run of these settings."""
        own = {"models": MODELS.own([settings["model"]]), "methods": METHODS.own(settings["unlearn_methods"])}
        return {"threads": max(1, int(self.resources.get("cpu", 1))), **own}


def result(task: ray.ObjectRef) -> Any:
    """Wait for a task.

    Raises:
        UsageError: it failed.
    """
    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UsageError):
            raise cause from None
        raise UsageError(f"A worker failed: {reason(str(error))}") from error


def reason(text: str) -> str:
    """Why something in a worker ended: the last line of a traceback that names an error, else its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Failure #")]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Diverged|Interrupt|Exit)\b", line)]
    return re.sub(r"^recbole_unlearn\.errors\.\w+: ", "", [*errors[-1:], *lines, "no reason is known"][0])


def default_resources(device: torch.device) -> dict[str, float]:
    """The resources of a training or trial: a core, and a GPU if this machine trains on one."""
    return {"cpu": 1, "gpu": 1} if device.type == "cuda" else {"cpu": 1}


def gpus_given() -> dict[str, str]:
    """In a worker: the setting for the GPUs that ray gives it."""
    return {"gpu_id": ",".join(str(gpu) for gpu in ray.get_gpu_ids())}


def begin(
    threads: int, models: Sequence[type] = (), methods: Sequence[type] = (), level: int = logging.WARNING
) -> None:
    """In a worker: register classes, set threads and logging, and free the memory of an earlier task.

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


def _text(resources):
    return ",".join(f"{name}:{amount:g}" for name, amount in resources.items())
