"""Trainings side by side, on cores or on GPUs."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import joblib
import torch
from joblib.externals import loky


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


def side_by_side(function: Callable[..., Any], jobs: Iterable[tuple], workers: int) -> Iterator[Any]:
    """Call a function with each job's arguments, in processes; yield the results in the jobs' order.

    Args:
        function: of the package; it and its arguments are pickled.
        jobs: arguments, made when a worker is free.
        workers: processes at a time; 1 works in this one.
    """
    try:
        calls = (joblib.delayed(function)(*job) for job in jobs)
        yield from joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="n_jobs")(calls)
    finally:
        if workers > 1:
            loky.get_reusable_executor().shutdown(wait=True)  # idle workers would count as the next method's memory
