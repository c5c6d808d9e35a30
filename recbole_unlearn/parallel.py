"""Trainings side by side, on cores or on GPUs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from logging import getLogger
from typing import Any

import joblib
import torch
from joblib.externals import loky

SECONDS_IDLE = 10  # after which a worker ends: nobody else ends it if its parent was killed


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give torch back its threads at the end of a block; also a decorator."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def share_threads(config: Any) -> Any:
    """Give torch one training's share of its threads; returns the settings with ``unlearn_workers`` as a number.

    On a CPU two threads make a training of a small graph hardly faster than one, and far slower beside any other busy
    process, because each of a step's hundreds of products waits for both. Two trainings with a thread each lose
    nothing. With more workers than threads, each still has one.
    """
    threads = torch.get_num_threads()
    on_gpu = config["device"].type == "cuda"
    each = config["nproc"]
    alone = 1 if each > 1 else torch.cuda.device_count() if on_gpu else min(2, threads)
    workers = config["unlearn_workers"] or alone
    if not on_gpu:
        torch.set_num_threads(max(1, threads // (workers * each)))
    return config.replace(unlearn_workers=workers)


def n_workers(config: Any, n_jobs: int, wanted: int | None = None) -> int:
    """How many trainings run at a time: as many as wanted, else one a GPU, or one a thread of this process.

    All trainings together then have the threads of any other training here, so that their seconds compare. On a cluster
    their number is the cluster's matter, and each has the first of the GPUs that it sees.
    """
    if config["ray_address"]:
        return 1
    on_gpu = config["device"].type == "cuda"
    there = torch.cuda.device_count() if on_gpu else torch.get_num_threads() * config["nproc"]
    return max(1, min(wanted or there, n_jobs))


def device_of(device: torch.device, job: int, workers: int) -> torch.device:
    """The device of a job: the GPUs in turn if there are several workers."""
    if workers == 1 or device.type != "cuda":
        return device
    return torch.device("cuda", job % torch.cuda.device_count())


def side_by_side(function: Callable[..., Any], jobs: Iterable[tuple], workers: int, config: Any) -> Iterator[Any]:
    """Call a function with each job's arguments, in processes; yield the results in the jobs' order.

    Args:
        function: of the package; it and its arguments are pickled.
        jobs: arguments, made when a worker is free.
        workers: processes at a time; 1 works in this one.
        config (Config): settings. The cluster at ``ray_address``, if there is one, works instead, each call on a core,
            and on a GPU if this process has one; a call whose machine is lost starts anew on another.
    """
    if config["ray_address"]:
        from recbole_unlearn.cluster import Cluster, default_resources  # ray takes seconds to import

        with Cluster(config["ray_address"], default_resources(config["device"])) as cluster:
            yield from cluster.map(with_threads, ((1, function, *job) for job in jobs))
        return
    try:
        calls = (joblib.delayed(function)(*job) for job in jobs)
        yield from joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="n_jobs")(calls)
    finally:
        if workers > 1:
            loky.get_reusable_executor().shutdown(wait=True)  # idle workers would count as the next method's memory


def with_threads(threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """In a worker of a cluster: call a function with so many threads."""
    torch.set_num_threads(threads)
    return function(*arguments)


@contextmanager
def meanwhile(function: Callable[..., Any], jobs: Sequence[tuple], workers: int) -> Iterator[None]:
    """Call a function with each job's arguments, in processes, while a block runs; the end of the block ends them.

    The block must do without the calls: their results are dropped, and of a failure there is a warning.

    Args:
        function: of the package; it and its arguments are pickled.
        jobs: arguments.
        workers: processes at a time, each with as many threads as this one; 0 calls nothing.
    """
    if not jobs or not workers:
        yield
        return
    executor = loky.ProcessPoolExecutor(
        min(workers, len(jobs)),
        timeout=SECONDS_IDLE,
        initializer=torch.set_num_threads,
        initargs=(torch.get_num_threads(),),
    )
    within = True

    def warn(call):
        if within and call.exception():
            getLogger().warning(f"A process beside this one failed, which goes on alone: {call.exception()!r}")

    try:
        with suppress(loky.BrokenProcessPool):  # then the calls that were submitted warn
            for job in jobs:
                executor.submit(function, *job).add_done_callback(warn)
        yield
    finally:
        within = False
        executor.shutdown(wait=True, kill_workers=True)
