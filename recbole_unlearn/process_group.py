"""Processes that work on one training: this one, and others that it starts or that torchrun started."""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

import cloudpickle
import torch
import torch.distributed as dist
from joblib.externals import loky

from recbole_unlearn.errors import UsageError

SECONDS_IDLE = 60  # after which a process without a training ends
SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_FAIL = 5  # that another process's error may take to arrive here
LONGEST = timedelta(days=7)  # that one process works alone, e.g. on validation, while the others wait


def torchrun_size() -> int:
    """The number of processes that torchrun started, or 0 without it. All but the first wait for its trainings."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 0


def waits_for_torchrun() -> bool:
    """Whether this process is one of torchrun's, but not the first."""
    return torchrun_size() > 1 and os.environ["RANK"] != "0"


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
        UsageError: another process ended; the message says why.
    """
    size, device = config["nproc"], config["device"].type
    with _starter(config) as (host, start):
        store = dist.TCPStore(host, 0, size, is_master=True, wait_for_workers=False)
        address = host, store.port, size, torch.get_num_threads(), device
        others = [start(_join, *address, rank) for rank in range(1, size)]
        with _joined(store, size, device, others):
            dist.broadcast_object_list([cloudpickle.dumps((function, job))], device=torch.device("cpu"))
            yield


@contextmanager
def _joined(store, size, device, others):
    """Be the first of a group, once the others are there; their errors are this one's."""
    try:
        while store.add("ready", 0) < size - 1:
            _check(others)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        dist.init_process_group(_backend(device), store=store, rank=0, world_size=size, timeout=LONGEST)
        yield
    except RuntimeError:  # perhaps because another's connection ended
        wait(others, timeout=SECONDS_TO_FAIL)
        _check(others)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def serve_torchrun() -> None:
    """What a process of torchrun's other than the first does: it works on each training of the first, until it ends."""
    store, rank = _torchrun_store(), int(os.environ["RANK"])
    for number in count():
        store.wait([f"training {number} of {rank}"], LONGEST)
        call = pickle.loads(store.get(f"training {number} of {rank}"))
        if call is None:
            return
        _join(*call)


def end_torchrun() -> None:
    """Let the processes in :func:`serve_torchrun` return."""
    for rank in range(1, torchrun_size()):
        _to_torchrun(None, rank)


def _join(host, port, size, threads, device, rank):
    """Join the group of a training, and work on it."""
    torch.set_num_threads(threads)
    if device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    store = dist.TCPStore(host, port, size, is_master=False)
    store.add("ready", 1)
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
    if torchrun_size() > 1:
        yield os.environ["MASTER_ADDR"], _publish
    elif config["ray_address"]:
        from recbole_unlearn.cluster import Cluster, default_resources, my_address  # ray takes seconds to import

        with Cluster(config["ray_address"], default_resources(config["device"], torch.get_num_threads())) as cluster:
            # A machine that is lost loses its columns: nothing to start anew before the training does.
            yield my_address(), lambda *call: cluster.submit(*call, retries=0).future()
    else:
        executor = _helpers(config["nproc"] - 1)
        try:
            yield "127.0.0.1", executor.submit
        except BaseException:  # the next training starts others
            _helpers.cache_clear()
            executor.shutdown(wait=True, kill_workers=True)
            raise


@cache
def _helpers(n):
    return loky.ProcessPoolExecutor(n, timeout=SECONDS_IDLE)


def _publish(function, *arguments):
    """The ``submit`` of torchrun's processes; the last argument is the rank. An error there ends all of them."""
    *_, rank = arguments
    _to_torchrun(arguments, rank)
    return Future()


def _to_torchrun(call, rank):
    store = _torchrun_store()
    number = store.add(f"trainings of {rank}", 1) - 1
    store.set(f"training {number} of {rank}", pickle.dumps(call))


def _torchrun_store():
    """The store that torchrun keeps for its processes."""
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    prefix = f"recbole_unlearn {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    return dist.PrefixStore(prefix, dist.TCPStore(*address, is_master=False))


def _backend(device):
    return "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"


def _check(others):
    """Raise the error that ended another process, if one did."""
    for other in others:
        if other.done() and other.exception():
            error = other.exception()
            if isinstance(error, UsageError):
                raise error
            raise UsageError(f"Another process of this training failed: {error!r}") from error
