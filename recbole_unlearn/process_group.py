"""Processes that work on one training: this one, and others that it starts or that torchrun or Ray starts."""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import cloudpickle
import torch
import torch.distributed as dist
from joblib.externals import loky

from recbole_unlearn.errors import UsageError, reason
from recbole_unlearn.torchrun import submit_to_torchrun, torchrun_size, waits_for_torchrun

SECONDS_IDLE = 60  # after which a process without a training ends
SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_FAIL = 5  # that another process's error may take to arrive here
TIME_TO_MEET = timedelta(minutes=5)
_HELPERS: dict[int, loky.ProcessPoolExecutor] = {}  # by their number
LONGEST = timedelta(days=1)  # that the first works alone within a training, on its validation


@contextmanager
def process_group(config: Any, function: Callable[[Any], None], job: Any) -> Iterator[None]:
    """In this block, this process and ``nproc - 1`` others, which call ``function(job)``, are torch's default group.

    The others are torchrun's, or tasks of the cluster at ``ray_address``, or processes of this machine.

    Args:
        config (Config): settings with ``nproc``, ``ray_address`` and the ``device`` of this process, which is the
            first; on GPUs each process of a machine has the next one.
        function: of the package; it must do the same communication as the block.
        job: what it works on; pickled, a user's own classes too.

    Raises:
        UsageError: another process ended, or the cluster has no room for them; the message says why.
    """
    size, device = config["nproc"], config["device"].type
    with _starter(config) as (host, start):
        store = dist.TCPStore(host, 0, size, is_master=True, wait_for_workers=False)
        address = host, store.port, size, torch.get_num_threads(), device
        others = [start(_join, *address, rank) for rank in range(1, size)]
        with _joined(store, size, device, others):
            dist.broadcast_object_list([cloudpickle.dumps((function, job))], device=torch.device("cpu"))
            yield


def end_helpers() -> None:
    """End the processes of this machine that wait for a training: they would count as the next block's memory."""
    for executor in _HELPERS.values():
        executor.shutdown(wait=True, kill_workers=True)
    _HELPERS.clear()


@contextmanager
def _joined(store, size, device, others):
    """Be the first of a group, once the others are there; their errors are this one's."""
    try:
        while store.add("ready", 0) < size - 1:
            _check(others)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        store.set("all ready", b"")
        dist.init_process_group(_backend(device), store=store, rank=0, world_size=size, timeout=LONGEST)
        yield
    except RuntimeError:  # perhaps because another's connection ended
        wait(others, timeout=SECONDS_TO_FAIL)
        _check(others)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(host, port, size, threads, device, rank):
    """Join the group of a training, and work on it."""
    torch.set_num_threads(threads)
    if device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    store = dist.TCPStore(host, port, size, is_master=False)
    store.add("ready", 1)
    store.wait(["all ready"], TIME_TO_MEET)  # else this process would stay if the first one ends now
    dist.init_process_group(_backend(device), store=store, rank=rank, world_size=size, timeout=LONGEST)
    try:
        received = [b""]
        dist.broadcast_object_list(received, device=torch.device("cpu"))
        function, job = pickle.loads(received[0])
        function(job)
    finally:
        dist.destroy_process_group()


@contextmanager
def _starter(config):
    """This process's address for the others, and a function that lets another process call a function."""
    if waits_for_torchrun():
        raise UsageError(
            "torchrun starts run_unlearn.py, whose first process leads; in a script of your own, set `nproc` instead."
        )
    if torchrun_size() > 1:
        yield os.environ["MASTER_ADDR"], submit_to_torchrun
    elif config["ray_address"]:
        from recbole_unlearn.cluster import Cluster, default_resources, my_address  # ray takes seconds to import

        resources = default_resources(config["device"], torch.get_num_threads())
        with Cluster(config["ray_address"], resources, n_tasks=config["nproc"] - 1) as cluster:
            # A machine that is lost loses its columns: nothing to start anew before the training does.
            yield my_address(), lambda *call: cluster.submit(*call, retries=0).future()
    else:
        try:
            yield "127.0.0.1", lambda *call: _submit(config["nproc"] - 1, call)
        except BaseException:
            end_helpers()
            raise


def _submit(n, call):
    """Let one of ``n`` processes of this machine call a function; they stay for the next training."""
    for _ in range(2):
        if n not in _HELPERS:
            _HELPERS[n] = loky.ProcessPoolExecutor(n, timeout=SECONDS_IDLE)
        try:
            return _HELPERS[n].submit(*call)
        except loky.BrokenProcessPool:  # one was killed while it waited
            _HELPERS.pop(n).shutdown(wait=True, kill_workers=True)
    raise UsageError("The processes of --nproc end as soon as they start: is there memory for them?")


def _backend(device):
    return "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"


def _check(others):
    """Raise the error that ended another process, if one did."""
    for other in others:
        if other.done() and other.exception():
            error = getattr(other.exception(), "cause", None) or other.exception()  # Ray's errors have a cause
            if isinstance(error, UsageError):
                raise error
            raise UsageError(
                f"Another process of this training ended ({type(error).__name__}: {reason(error)}). The same command "
                "goes on from its last files."
            ) from error
