"""Ray, on this machine or as a running cluster."""

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # lines of two trainings look alike
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a later default; set here, ray prints no notice

import joblib
import ray
import torch

from recbole_unlearn.errors import UsageError

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
        n_tasks: that must run at a time.

    Raises:
        UsageError: there is no cluster, or its machines cannot hold so many tasks.
    """

    def __init__(self, address: str | None, resources: Mapping[str, float], n_tasks: int = 1):
        self.address, self.resources, self.n_tasks = address, dict(resources), n_tasks

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
        room = sum(min(int(has[name] // amount) for name, amount in self.resources.items()) for has in have)
        if room < self.n_tasks:
            ray.shutdown()
            raise UsageError(
                f"{self.n_tasks} tasks of {_text(self.resources)} are to run at a time, but the cluster has room for "
                f"{room}: lower --nproc, or OMP_NUM_THREADS."
            )
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    def submit(self, function: Callable[..., Any], *arguments: Any, retries: int = 3) -> ray.ObjectRef:
        """Run a function in a worker with the resources of a task; :func:`result` waits for it.

        Args:
            function: of the package, or pickled.
            arguments: of the function.
            retries: how often it starts anew on another machine if its own is lost.
        """
        cpu, gpu = (self.resources.get(name, 0) for name in ("cpu", "gpu"))
        remote = ray.remote(num_cpus=cpu, num_gpus=gpu, max_retries=retries, scheduling_strategy="SPREAD")
        return remote(_in_folder(os.getcwd(), function)).remote(*arguments)

    def map(self, function: Callable[..., Any], jobs: Iterable[tuple]) -> Iterator[Any]:
        """Call a function with each job's arguments, all submitted at once; yield the results in the jobs' order.

        Raises:
            UsageError: a call failed.
        """
        for task in [self.submit(function, *job) for job in jobs]:
            yield result(task)


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


def default_resources(device: torch.device, cores: int = 1) -> dict[str, float]:
    """The resources of a training or trial: a core or more, and a GPU if this machine trains on one."""
    return {"cpu": cores, "gpu": 1} if device.type == "cuda" else {"cpu": cores}


def my_address() -> str:
    """This machine's address in the cluster."""
    return ray.util.get_node_ip_address()


def gpus_given() -> dict[str, str]:
    """In a worker: the setting for the GPUs that ray gives it."""
    return {"gpu_id": ",".join(str(gpu) for gpu in ray.get_gpu_ids())}


def _in_folder(folder, function):
    """The function, called in this process's folder if the worker's machine has it: paths may be relative."""

    def call(*arguments):
        if os.path.isdir(folder):
            os.chdir(folder)
        return function(*arguments)

    return call


def _knock(address):
    """Refuse at once if nobody listens: ray would try for minutes and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_KNOCK).close()


def _text(resources):
    return ",".join(f"{name}:{amount:g}" for name, amount in resources.items())
