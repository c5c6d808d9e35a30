"""Trainings side by side: on cores, on GPUs, or on a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import joblib
import torch
from joblib.externals import loky
from tqdm import tqdm


def n_workers(device: torch.device, n_jobs: int, wanted: int | None = None) -> int:
    """How many trainings run at a time: as many as wanted, else one a GPU, or one a thread of this process.

    All trainings together then have the threads of any other training here, so that their seconds compare.
    """
    there = torch.cuda.device_count() if device.type == "cuda" else torch.get_num_threads()
    return max(1, min(wanted or there, n_jobs))


def device_of(device: torch.device, job: int, workers: int) -> torch.device:
    """The device of a job: the GPUs in turn if there are several workers."""
    if workers == 1 or device.type != "cuda":
        return device
    return torch.device("cuda", job % torch.cuda.device_count())


def side_by_side(
    function: Callable[..., Any],
    jobs: Iterable[tuple],
    total: int,
    workers: int,
    title: str,
    show_progress: bool,
    ray_address: str | None = None,
) -> Iterator[Any]:
    """Call a function with each job's arguments, in processes; yield the results in the jobs' order.

    Args:
        function: of the package; it and its arguments are pickled.
        jobs: arguments, made when a worker is free.
        total: number of jobs.
        workers: processes at a time; 1 works in this one.
        title: of the progress bar.
        show_progress: whether there is one.
        ray_address: of a running Ray cluster that does the work instead.
    """
    try:
        with _on_ray(ray_address) if ray_address else nullcontext():
            calls = (joblib.delayed(function)(*job) for job in jobs)
            parallel = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="n_jobs")
            yield from tqdm(parallel(calls), total=total, desc=title, disable=not show_progress)
    finally:
        if workers > 1 and not ray_address:
            loky.get_reusable_executor().shutdown(wait=True)  # idle workers would count as the next method's memory


def _on_ray(address):
    import ray
    from ray.util.joblib import register_ray

    ray.init(address, ignore_reinit_error=True, log_to_driver=False)
    register_ray()
    return joblib.parallel_config("ray")
